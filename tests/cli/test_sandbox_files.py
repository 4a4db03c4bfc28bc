"""What `kgate sandbox` reads and what it shows of a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.errors import UsageError
from cli.sandbox_config import BadConfig, load
from cli.sandbox_log import line

SOCKET = Path("/tmp/run/express.sock")
SERVICE = {"name": "s", "url": "http://a.example", "routes": [{"name": "r", "paths": ["/r"]}]}
OURS = {"name": "passport", "config": {"issuers": ["main"]}}
ISSUERS = [{"name": "main", "iss": "https://i.example", "audiences": ["a"], "jwks": {"keys": []}}]
GATEWAY: dict[str, Any] = {
    "_format_version": "3.0",
    "issuers": ISSUERS,
    "services": [{**SERVICE, "plugins": [OURS]}],
}


def write(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_kongs_own_format_is_taken_byte_by_byte(tmp_path: Path) -> None:
    text = '{"_format_version":  "3.0", "services": []}'
    loaded = load(write(tmp_path / "kong.json", text), None, SOCKET, {})
    assert loaded.content == text.encode()


def test_what_render_wrote_is_not_rendered_again(tmp_path: Path) -> None:
    adapter = {"name": "kgate", "config": {"socket": "/elsewhere.sock"}}
    document = {"_format_version": "3.0", "services": [{**SERVICE, "plugins": [OURS]}], "plugins": [adapter]}
    path = write(tmp_path / "kong.json", document)
    assert load(path, None, SOCKET, {}).content == path.read_bytes()


@pytest.mark.parametrize(
    "document", [GATEWAY, {k: v for k, v in GATEWAY.items() if k != "issuers"} | {"tenants": []}]
)
def test_kgates_files_are_rendered_with_this_run_dir(tmp_path: Path, document: dict[str, Any]) -> None:
    if "issuers" not in document:
        document = {**document, "services": [SERVICE]}
    loaded = load(write(tmp_path / "gateway.yaml", document), None, SOCKET, {})
    plugins = {plugin["name"]: plugin for plugin in json.loads(loaded.content)["plugins"]}
    assert {plugins[name]["config"]["socket"] for name in ("kgate", "kgate-facts")} == {str(SOCKET)}


def test_several_clusters_need_a_choice(tmp_path: Path) -> None:
    clusters = {name: {"mode": "dbless", "nodes": ["http://k:8001"]} for name in ("a", "b")}
    path = write(tmp_path / "gateway.yaml", {**GATEWAY, "clusters": clusters})
    with pytest.raises(UsageError, match="--cluster"):
        load(path, None, SOCKET, {})
    assert load(path, "b", SOCKET, {}).files == (path,)


def test_an_error_has_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "gateway.yaml", "_format_version: '3.0'\ntenants: 7\n")
    with pytest.raises(BadConfig) as e:
        load(path, None, SOCKET, {})
    assert f"{path}:2:" in e.value.lines[0]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing"):
        load(tmp_path / "nothing.yaml", None, SOCKET, {})


def record(status: int = 200, **ours: Any) -> dict[str, Any]:
    return {
        "request": {"method": "GET", "uri": "/r/\x1b[2J?token=secret"},
        "response": {"status": status},
        "latencies": {"request": 7},
        "route": {"name": "r"},
        "tries": [{"ip": "10.0.0.1", "port": 1}, {"ip": "10.0.0.2", "port": 2}],
        "upstream_status": "502, 200",
        "kgate": ours,
    }


@pytest.mark.parametrize(
    ("ours", "plugin", "text"),
    [
        ({"verdict": "pass"}, "", "pass"),
        ({"verdict": "pass", "arm": "b", "tenant": "t"}, "canary-router", "pass by canary-router  arm b  tenant t"),
        ({"verdict": "exit", "reason": "ip_blocked"}, "abuse-guard", "exit ip_blocked by abuse-guard"),
        ({"verdict": "exit", "reason": "token_expired"}, "passport", "exit token_expired by passport"),
        ({"verdict": "fallback", "reason": "502"}, "static-fallback", "fallback 502 by static-fallback"),
        ({"verdict": "fail", "reason": "server_away"}, "kgate", "fail server_away by kgate"),
    ],
)  # fmt: skip
def test_the_line_of_a_request(ours: dict[str, Any], plugin: str, text: str) -> None:
    shown = line(record(**ours))
    assert shown.plugin == plugin
    assert shown.as_text() == f"GET /r/\\x1b[2J -> 200  10.0.0.2:2 (502, 200)  7 ms  {text}"
    assert shown.as_json()["event"] == "request"
    assert "secret" not in json.dumps(shown.as_json())


def test_a_request_that_no_upstream_saw() -> None:
    bare = {k: v for k, v in record(404).items() if k not in ("tries", "route", "kgate", "upstream_status")}
    assert line(bare, node=2).as_text() == "[2] GET /r/\\x1b[2J -> 404  no upstream  7 ms"
