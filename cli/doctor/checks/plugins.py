"""The gate plugins and the adapter are enabled, and the adapter runs for every request."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, SKIPPED, Node, Result, World
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import ADAPTER_PLUGINS

NAME = "plugins"


def check(world: World) -> Iterator[Result]:
    """Each node that told its settings."""
    for node in world.known:
        yield _enabled(node)
        yield _global(node)


def _enabled(node: Node) -> Result:
    loaded = node.settings.get("loaded_plugins") or node.available
    missing = [name for name in (*ADAPTER_PLUGINS, *PLUGINS) if name not in loaded]
    if missing:
        said = f"not enabled: {', '.join(missing)}"
        do = "start Kong with the settings of `kgate kong-env`: KONG_PLUGINS and KONG_LUA_PACKAGE_PATH"
        return Result(NAME, node.url, ERROR, said, do)
    return Result(NAME, node.url, OK, f"all enabled, {'express' if node.express else 'pdk'} lane")


def _global(node: Node) -> Result:
    if node.plugins is None:
        do = "see what /plugins answers"
        if (node.info or {}).get("prefix"):
            do = "give its control plane by --node, which holds them, and --proxy, to see whether the adapter answers"
        return Result(NAME, node.url, SKIPPED, "its plugin instances could not be read", do)
    scopes = ("service", "route", "consumer")
    everywhere = {str(p.get("name")) for p in node.plugins if not any(p.get(scope) for scope in scopes)}
    running = {str(p.get("name")) for p in node.plugins if p.get("enabled", True)}
    missing = [name for name in ADAPTER_PLUGINS if name not in everywhere or name not in running]
    if not missing:
        return Result(NAME, node.url, OK, "the adapter runs for every request")
    gates = sorted(running & set(PLUGINS))
    said = f"{' and '.join(missing)} run for no request" + (
        f", though {', '.join(gates)} are used" if gates else ""
    )
    return Result(NAME, node.url, ERROR, said, "run `kgate sync`: it adds the adapter to what the files say")
