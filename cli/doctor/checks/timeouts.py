"""A plugin server that hangs must not hold requests: in the pdk lane Kong's own bound is 60 s."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.checks.plugin_servers import read_timeout
from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Result, World
from kong_plugins.kong_env import READ_TIMEOUT_MS

NAME = "timeouts"
LONGEST_MS = 2_000.0
SHORTEST_MS = 60.0
"""Less than the server's own deadline (50 ms) and a round trip: answers that are good would be given up."""


def check(world: World) -> Iterator[Result]:
    """Each node that told its settings."""
    for node in world.kongs:
        set_it = f"set KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT={READ_TIMEOUT_MS}ms and restart Kong"
        timeout = read_timeout(node)
        if node.role == "control_plane":
            yield Result(
                NAME,
                node.url,
                SKIPPED,
                "a control plane serves no requests",
                "run doctor on a data plane with --prefix",
            )
        elif node.express:
            yield Result(NAME, node.url, OK, "the express lane has timeouts of its own (50 ms, 300 ms)")
        elif timeout is None or timeout > LONGEST_MS:
            told = "60 s, Kong's default" if timeout is None else f"{timeout:g} ms"
            said = f"a hung plugin server holds every request for {told}"
            yield Result(NAME, node.url, ERROR, said, set_it)
        elif timeout < SHORTEST_MS:
            said = f"a read timeout of {timeout:g} ms gives up good answers"
            yield Result(NAME, node.url, WARNING, said, set_it)
        else:
            yield Result(NAME, node.url, OK, f"read timeout {timeout:g} ms")
