"""The adapter answers on the proxy, with the config that the Admin API has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Result, World
from decl.probe import adapter_hash

NAME = "probe"


def check(world: World) -> Iterator[Result]:
    """Each proxy."""
    configs = [
        plugin["config"]
        for node in world.known
        for plugin in node.plugins or ()
        if plugin.get("name") == "kgate" and isinstance(plugin.get("config"), Mapping)
    ]
    wanted = {adapter_hash(config) for config in configs if {"socket", "strip"} <= config.keys()}
    for proxy in world.proxies:
        if proxy.hash is None:
            said = f"no adapter answers: {proxy.error}"
            do = "protected routes are open or away: see the checks of plugins and of the adapter, then `kgate sync`"
            yield Result(NAME, proxy.url, ERROR, said, do)
        elif wanted and proxy.hash not in wanted:
            said = "the adapter runs with another config than the Admin API has"
            do = "wait for Kong to take it (db_update_frequency), then `kgate sync`; see Kong's error log"
            yield Result(NAME, proxy.url, WARNING, said, do)
        else:
            yield Result(NAME, proxy.url, OK, "the adapter answers")
    if not world.proxies:
        do = "give --proxy http://HOST:8000, or clusters.*.proxy in the file"
        yield Result(NAME, "", SKIPPED, "no proxy was named", do)
