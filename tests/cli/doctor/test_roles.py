"""doctor on a hybrid cluster: what a control plane and a data plane need, each its own, through the command."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli import exit_codes
from cli.main import main
from kong_plugins.kong_env import ADAPTER_DIR
from tests.cli.doctor.test_checks import CONFIG, PLANE, node

Answers = dict[str, Any]


def answers(role: str, lane: str = "express", **settings: Any) -> Answers:
    """What a sound node of a role tells; a data plane has no database, and nothing but its config."""
    sound = node(lane, role=role, database="postgres" if role == "control_plane" else "off", **settings)
    plugins = [{"id": name, "name": name, "config": CONFIG} for name in ("kgate", "kgate-facts")]
    found = {"/": dict(sound.info or {}), "/plugins": {"data": plugins, "next": None}}
    if role == "control_plane":
        found["/clustering/data-planes"] = {"data": [PLANE], "next": None}
    return found


@pytest.fixture
def http() -> Iterator[Callable[[Answers], str]]:
    """Serves the Admin API of one node, and of more when it is called again."""
    servers: list[ThreadingHTTPServer] = []

    def serve(found: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = found.get(self.path.partition("?")[0])
                raw = json.dumps({"message": "Not found"} if body is None else body).encode()
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def doctor(*nodes: str, run_dir: Path, code: int) -> dict[str, set[tuple[str, str]]]:
    """check -> its (status, what it said)."""
    named = [part for url in nodes for part in ("--node", url)]
    adapter = str(ADAPTER_DIR)
    arguments = ["doctor", *named, "--run-dir", str(run_dir), "--adapter-dir", adapter, "--output", "json"]
    result = CliRunner().invoke(main, arguments, env={"REDIS_URL": ""})
    assert result.exit_code == code, result.output
    found: dict[str, set[tuple[str, str]]] = {}
    for each in json.loads(result.stdout)["results"]:
        assert each["do"] or each["status"] == "ok", each
        found.setdefault(each["check"], set()).add((each["status"], each["said"]))
    return found


def statuses(found: dict[str, set[tuple[str, str]]]) -> dict[str, set[str]]:
    return {check: {status for status, _ in told} for check, told in found.items()}


def test_a_control_plane_needs_no_plugin_server(http: Callable[[Answers], str], tmp_path: Path) -> None:
    found = doctor(http(answers("control_plane")), run_dir=tmp_path / "none", code=exit_codes.OK)
    told = statuses(found)
    assert told["socket"] == told["timeouts"] == told["trusted-ips"] == {"skipped"}
    assert told["plugins"] == told["plugin-servers"] == told["data-planes"] == {"ok"}
    assert ("ok", "Kong 3.9.3, control_plane, database postgres") in found["kong-version"]


def test_a_data_plane_needs_one(http: Callable[[Answers], str], tmp_path: Path) -> None:
    found = doctor(http(answers("data_plane")), run_dir=tmp_path / "none", code=exit_codes.FINDINGS)
    told = statuses(found)
    assert "error" in told["socket"]
    assert told["trusted-ips"] == told["timeouts"] == told["plugins"] == {"ok"}
    assert "data-planes" not in told  # it knows of no others
    assert ("ok", "Kong 3.9.3, data_plane, database off") in found["kong-version"]


def test_a_data_plane_of_the_pdk_lane_needs_a_timeout(http: Callable[[Answers], str], tmp_path: Path) -> None:
    none = {"nginx_proxy_directives": []}
    found = doctor(http(answers("data_plane", "pdk", **none)), run_dir=tmp_path, code=exit_codes.FINDINGS)
    (timeout,) = found["timeouts"]
    assert timeout == ("error", "a hung plugin server holds every request for 60 s, Kong's default")
    plane = doctor(
        http(answers("control_plane", "pdk", **none)), run_dir=tmp_path / "none", code=exit_codes.OK
    )
    assert statuses(plane)["timeouts"] == {"skipped"}


def test_both_need_the_plugins(http: Callable[[Answers], str], tmp_path: Path) -> None:
    """A control plane whose schemas lack them refuses the config; a data plane does not take it."""
    for role in ("control_plane", "data_plane"):
        url = http(answers(role, loaded_plugins={"kgate": True, "kgate-facts": True}))
        found = doctor(url, run_dir=tmp_path, code=exit_codes.FINDINGS)
        missing = "not enabled: abuse-guard, passport, canary-router, static-fallback"
        assert ("error", missing) in found["plugins"]
        url = http(answers(role, "pdk", pluginservers=[]))  # no query_cmd files
        found = doctor(url, run_dir=tmp_path, code=exit_codes.FINDINGS)
        assert "error" in statuses(found)["plugin-servers"]


def test_a_data_plane_that_never_got_a_config(http: Callable[[Answers], str], tmp_path: Path) -> None:
    empty = {**answers("data_plane"), "/plugins": {"data": [], "next": None}}
    url = http(empty)
    arguments = ["doctor", "--node", url, "--no-local", "--output", "json"]
    told = json.loads(CliRunner().invoke(main, arguments, env={"REDIS_URL": ""}).stdout)["results"]
    (plugins,) = (each for each in told if each["check"] == "plugins" and each["status"] == "error")
    assert "run for no request" in plugins["said"]
    assert "control plane" in plugins["do"]  # nobody can sync to a data plane


def test_both_at_once(http: Callable[[Answers], str], tmp_path: Path) -> None:
    """The data plane's needs are looked at, though the other one has none of them."""
    nodes = http(answers("control_plane")), http(answers("data_plane", trusted_ips=["0.0.0.0/0"]))
    found = doctor(*nodes, run_dir=tmp_path / "none", code=exit_codes.FINDINGS)
    told = statuses(found)
    assert told["trusted-ips"] == {"skipped", "error"}
    assert "error" in told["socket"]
    assert told["data-planes"] == {"ok"}
