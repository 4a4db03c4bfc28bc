"""Several workers and nodes: what is each one's own and what they share."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kong_plugins.kong_env import kong_env
from sandbox.app import PortTaken, Sandbox
from sandbox.nodes import Nodes, node_settings

PLUGINS = Path(__file__).parent / "plugins"
FREE = {"KONG_PROXY_LISTEN": "127.0.0.1:0", "KONG_ADMIN_LISTEN": "127.0.0.1:0"}
PROBE = {"KONG_PLUGINS": "bundled,probe", "KONG_LUA_PACKAGE_PATH": f"{PLUGINS}/?.lua;;", **FREE}


class Client:
    """One connection, so one worker."""

    def __init__(self, url: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port(url)), 30)

    def get(self, path: str) -> tuple[int, bytes]:
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(x[15:]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += self.socket.recv(65536)
        return int(head.split(b" ")[1]), body

    def reason(self, path: str) -> str:
        return str(json.loads(self.get(path)[1])["reason"])


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.fixture
def start(box: Any) -> Iterator[Any]:
    """Starts nodes on the box's loop."""
    started: list[Nodes] = []

    def begin(settings: dict[str, str], count: int, workers: int, *configs: bytes) -> Nodes:
        async def run() -> Nodes:
            nodes = Nodes({**settings, "KONG_NGINX_WORKER_PROCESSES": str(workers)}, count)
            await nodes.start(configs)
            return nodes

        nodes: Nodes = box.call(run())
        started.append(nodes)
        return nodes

    yield begin
    for nodes in started:
        box.call(nodes.stop())


@pytest.fixture
def clients() -> Iterator[Any]:
    made: list[Client] = []

    def connect(url: str, count: int) -> list[Client]:
        found = [Client(url) for _ in range(count)]
        made.extend(found)
        return found

    yield connect
    for client in made:
        client.socket.close()


def protected(name: str, socket_path: Path) -> bytes:
    """A route behind passport, as render writes it; its plugin server is not there."""
    config = {"socket": str(socket_path)}
    route = {"name": name, "paths": [f"/{name}"], "tags": ["kgate-protected"]}
    service = {"name": "s", "url": "http://127.0.0.1:1", "routes": [route]}
    service["plugins"] = [{"name": "passport", "config": {"issuers": ["main"]}}]
    adapter = [{"name": name, "config": config} for name in ("kgate-facts", "kgate")]
    return json.dumps({"_format_version": "3.0", "services": [service], "plugins": adapter}).encode()


def test_each_worker_has_its_own_breaker_and_each_node_its_own_configuration(
    start: Any, clients: Any, tmp_path: Path
) -> None:
    settings = {**kong_env(tmp_path, "express"), **FREE}
    away = tmp_path / "nobody.sock"
    nodes = start(settings, 2, 2, protected("a", away), protected("b", away)).nodes
    assert nodes[0].proxy_url != nodes[1].proxy_url
    one, other = clients(nodes[0].proxy_url, 2)
    # two missing answers open a worker's breaker; the other worker has seen none
    for client in (one, other):
        assert [client.reason("/a") for _ in range(2)] == ["server_away"] * 2
        # at once; half a second later, which the machine may let pass here, one is let through to look
        assert any(client.reason("/a") == "breaker_open" for _ in range(6))
    second = clients(nodes[1].proxy_url, 1)[0]
    assert second.reason("/b") == "server_away"
    assert (one.get("/b")[0], second.get("/a")[0]) == (404, 404)


def test_what_workers_share(box: Any, start: Any, clients: Any) -> None:
    dead = json.dumps(
        {
            "_format_version": "3.0",
            "services": [
                {
                    "name": "n",
                    "url": "http://127.0.0.1:1",
                    "routes": [{"name": "n", "paths": ["/n"], "plugins": [counting()]}],
                },
                {"name": "s", "host": "u.up", "retries": 0, "routes": [{"name": "r", "paths": ["/r"]}]},
            ],
            "upstreams": [
                {
                    "name": "u.up",
                    "healthchecks": {"passive": {"unhealthy": {"http_failures": 2, "http_statuses": [502]}}},
                    "targets": [{"target": "127.0.0.1:1"}],
                }
            ],
        }
    ).encode()
    node = start(PROBE, 1, 2, dead).nodes[0]
    one, other = clients(node.proxy_url, 2)
    # ngx.shared is the node's, a module's table the worker's
    assert [json.loads(c.get("/n")[1]) for c in (one, other, one, other)] == [
        [0, 2, 1, 1],
        [1, 2, 2, 1],
        [0, 2, 3, 2],
        [1, 2, 4, 2],
    ]
    # the health of targets is the node's: each worker saw one failure, both know
    assert [c.get("/r")[0] for c in (one, other, one, other)] == [502, 502, 503, 503]


def counting() -> dict[str, Any]:
    code = """
package.loaded.mine = (package.loaded.mine or 0) + 1
local all = ngx.shared.kong:incr("n", 1, 0)
kong.response.exit(200, {ngx.worker.id(), ngx.worker.count(), all, package.loaded.mine})
"""
    return {"name": "probe", "config": {"access": code}}


def test_nodes_of_one_database_follow_each_other(start: Any, clients: Any, http: Any, box: Any) -> None:
    nodes = start({**PROBE, "KONG_DATABASE": "postgres", "KONG_SANDBOX_PROPAGATION": "0ms"}, 2, 1).nodes
    body = b'{"name": "s", "url": "http://127.0.0.1:1"}'
    kind = {"Content-Type": "application/json"}
    assert http(port(nodes[0].admin_url), "POST", "/services", kind, body).status == 201
    route = b'{"name": "r", "paths": ["/r"], "service": {"name": "s"}}'
    assert http(port(nodes[1].admin_url), "POST", "/routes", kind, route).status == 201
    assert http(port(nodes[0].admin_url), "GET", "/routes/r").status == 200
    for node in nodes:
        assert clients(node.proxy_url, 1)[0].get("/r")[0] == 502


@pytest.mark.parametrize(
    ("listen", "number", "expected"),
    [("127.0.0.1:8000", 0, "127.0.0.1:8000"), ("0.0.0.0:8000", 2, "0.0.0.0:8200"), ("[::1]:0", 1, "[::1]:0")],
)
def test_ports_of_nodes(listen: str, number: int, expected: str) -> None:
    assert node_settings({"KONG_PROXY_LISTEN": listen}, number)["KONG_PROXY_LISTEN"] == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"KONG_PROXY_LISTEN": "127.0.0.1:65530"}, "no port 65630"),
        ({"KONG_NGINX_WORKER_PROCESSES": "99"}, "KONG_NGINX_WORKER_PROCESSES"),
        ({"KONG_PROXY_LISTEN": "127.0.0.1:8443 ssl"}, "'ssl' is not part of the sandbox"),
    ],
)
def test_bad_settings(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Nodes({**FREE, **settings}, 2)


def test_a_taken_port_is_named_and_nothing_keeps_running(box: Any) -> None:
    async def run() -> PortTaken:
        first = Sandbox(PROBE)
        await first.start()
        nodes = Nodes({**PROBE, "KONG_ADMIN_LISTEN": first.admin_url.removeprefix("http://")}, 1)
        try:
            await nodes.start()
        except PortTaken as e:
            return e
        finally:
            await first.stop()
        raise AssertionError("the port was not taken")

    error = box.call(run())
    assert (error.variable, error.in_use) == ("KONG_ADMIN_LISTEN", True)
