"""Plugin servers of others: in the pdk lane our read timeout bounds them too, and what takes longer passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli.doctor.model import ERROR, OK, WARNING, Node, Result, World
from cli.doctor.values import milliseconds, texts
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import READ_TIMEOUT_MS

NAME = "plugin-servers"
DIRECTIVE = "lua_socket_read_timeout"


def read_timeout(node: Node) -> float | None:
    """Milliseconds that Kong's cosockets wait for an answer, None where the settings do not say (60 s then)."""
    told = node.settings.get(f"nginx_proxy_{DIRECTIVE}")
    for each in texts(node.settings.get("nginx_proxy_directives"), Mapping):
        if each.get("name") == DIRECTIVE:
            told = each.get("value")
    return milliseconds(told)


def check(world: World) -> Iterator[Result]:
    """Each node that told its settings."""
    for node in world.kongs:
        yield from _one(node)


def _one(node: Node) -> Iterator[Result]:
    servers: list[Mapping[str, Any]] = texts(node.settings.get("pluginservers"), Mapping)
    started = [str(each.get("name")) for each in servers if each.get("start_command")]
    others = [str(each.get("name")) for each in servers if each.get("name") not in PLUGINS]
    if started:
        said = f"Kong itself starts {', '.join(started)}: its Admin API answers 500 to GET / now and then"
        do = "leave pluginserver_*_start_cmd out and start the server by a unit of its own"
        yield Result(NAME, node.url, WARNING, said, do)
    timeout = read_timeout(node)
    if others and timeout is not None and timeout <= READ_TIMEOUT_MS * 4:
        said = (
            f"{', '.join(others)}: bounded by our read timeout, {timeout:g} ms; slower ones let requests pass"
        )
        do = "see that these answer in time, or use the express lane (`kgate kong-env --lane express`)"
        yield Result(NAME, node.url, WARNING, said, do)
    mine = {str(each.get("name")) for each in servers} & set(PLUGINS)
    if node.express and mine:
        said = (
            f"{', '.join(sorted(mine))} are set as external plugins, too; Kong takes the Lua ones, silently"
        )
        yield Result(
            NAME, node.url, WARNING, said, "take KONG_PLUGINSERVER_* out: see `kgate kong-env --lane express`"
        )
    elif not node.express and mine != set(PLUGINS):
        said = f"no plugin server for {', '.join(sorted(set(PLUGINS) - mine))}, and no express folder on the Lua path"
        yield Result(NAME, node.url, ERROR, said, "start Kong with the settings of `kgate kong-env`")
    elif not node.express and (old := _of_before(servers)):
        said = f"{', '.join(old)}: on the sockets of the version before, where a request takes more messages"
        yield Result(
            NAME, node.url, WARNING, said, "start Kong with the settings of this version's `kgate kong-env`"
        )
    elif not others and not started:
        yield Result(NAME, node.url, OK, "no other plugin server")


def _of_before(servers: list[Mapping[str, Any]]) -> list[str]:
    """Our plugins on sockets of the version before."""
    return sorted(
        str(each.get("name"))
        for each in servers
        if each.get("name") in PLUGINS and str(each.get("socket")).endswith(f"/{each.get('name')}.sock")
    )
