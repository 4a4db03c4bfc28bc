"""Settings of Kong that undo what kgate guards."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, WARNING, Node, Result, World

NAME = "kong-settings"


def check(world: World) -> Iterator[Result]:
    """Each node that told its settings."""
    for node in world.known:
        found = list(_one(node))
        yield from found or [Result(NAME, node.url, OK, "nothing undoes the guard")]


def _one(node: Node) -> Iterator[Result]:
    if node.settings.get("untrusted_lua") == "on":
        said = "untrusted_lua = on: who may configure a function plugin owns the worker, keys and all"
        yield Result(NAME, node.url, ERROR, said, "set KONG_UNTRUSTED_LUA=sandbox")
    path = str(node.settings.get("lua_package_path") or "").split(";")
    folders = [part for part in path if part.strip()]
    if folders and not any(folder.endswith("/common/?.lua") for folder in folders[:2]):
        said = "kgate's folders are not the first of lua_package_path: another plugin of the same name would be taken"
        yield Result(
            NAME, node.url, WARNING, said, "begin KONG_LUA_PACKAGE_PATH with what `kgate kong-env` prints"
        )
