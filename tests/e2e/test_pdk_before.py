"""Kong's settings of the version before: the pdk lane's plugins on the sockets where the server reads and writes
kong.ctx.shared. They stay what they are until Kong is started anew."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import direct_socket
from kong_plugins.server.run_dir import socket_path
from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, token


@pytest.fixture(scope="module")
def before(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    if request.config.getoption("--kong-admin"):
        pytest.skip("a given Kong has its own settings")
    made = Gateway("pdk", tmp_path_factory.mktemp("run"), None, None, "dbless")
    try:
        made.start()
        for name in PLUGINS:  # nothing was asked yet: the sandbox has no connection
            direct_socket(made.run_dir, name).unlink()
            direct_socket(made.run_dir, name).symlink_to(socket_path(made.run_dir, name))
        yield made
    finally:
        made.close()


def test_they_are_served_and_guarded(before: Gateway) -> None:
    client, reached = Client(before.proxy, before), before.reached()
    for _ in range(2):  # cold and warm
        for route in ("secure", "all"):
            answer = client(f"/{route}/echo", token=token("alice"))
            assert answer.status == 200
            assert "x-passport" in {name.lower() for name, _ in answer.json["headers"]}
            assert client(f"/{route}/echo").reason == "token_missing"
            assert client(f"/{route}/echo", token="no.token.here").reason == "token_malformed"
    assert before.reached() == reached + 4
    assert client("/guarded/echo", source="127.9.0.1").reason == "ip_denied"
    assert "kong.ctx.shared" not in before.log("sandbox")


def test_without_the_server_they_are_closed(before: Gateway) -> None:
    client = Client(before.proxy, before)
    before.signal_server(signal.SIGKILL)
    reached = before.reached()
    assert [client("/all/echo", token=token()).status for _ in range(4)] == [503] * 4
    assert before.reached() == reached
    assert Path(direct_socket(before.run_dir, "passport")).is_symlink()
