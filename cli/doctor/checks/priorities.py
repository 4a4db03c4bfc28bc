"""The gate plugins run in their order, with nothing between them and nothing unknown before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Node, Result, World
from kong_plugins.engine.registry import PLUGINS

NAME = "priorities"
EXPECTED: dict[str, int] = {
    "kgate-facts": 1906,
    "abuse-guard": 1905,
    "passport": 1904,
    "canary-router": 1903,
    "static-fallback": 1902,
    "kgate": 1900,
}
BEFORE = {
    *("pre-function", "correlation-id", "zipkin", "bot-detection", "cors", "session", "standard-webhooks"),
    *("grpc-web", "grpc-gateway", "opentelemetry"),
}
"""Kong's own plugins that run before or beside the gate plugins and are meant to."""


def check(world: World) -> Iterator[Result]:
    """Each node that tells priorities."""
    for node in world.known:
        told = {
            name: int(each["priority"])
            for name, each in node.available.items()
            if isinstance(each, Mapping) and isinstance(each.get("priority"), int | float)
        }
        if not told.keys() & EXPECTED.keys():
            do = "ask a Kong from 3.0 on (a data plane's are those of its control plane)"
            yield Result(NAME, node.url, SKIPPED, "the node tells no priorities", do)
            continue
        yield from _one(node, told)


def _one(node: Node, told: Mapping[str, int]) -> Iterator[Result]:
    wrong = [f"{name} {told[name]}" for name in EXPECTED if name in told and told[name] != EXPECTED[name]]
    if wrong:
        said = f"other priorities than kgate's: {', '.join(wrong)}"
        do = "another plugin of the same name stands before the adapter on the Lua path; put kgate's folders first"
        yield Result(NAME, node.url, ERROR, said, do)
    low, high = EXPECTED["kgate"], EXPECTED["kgate-facts"]
    own = {*EXPECTED, *PLUGINS}
    used = None if node.plugins is None else {str(p.get("name")) for p in node.plugins}
    strangers = {
        name: value
        for name, value in told.items()
        if name not in own and name not in BEFORE and value >= low and (used is None or name in used)
    }
    between = sorted(name for name, value in strangers.items() if value <= high)
    before = sorted(name for name, value in strangers.items() if value > high)
    if between:
        said = f"{', '.join(between)} runs among the gate plugins: it may answer before the guard has its verdict"
        yield Result(NAME, node.url, ERROR, said, f"give it a priority below {low} or above {high}")
    if before:
        said = f"{', '.join(before)} runs before the gate plugins: what it answers was not checked by them"
        yield Result(
            NAME, node.url, WARNING, said, f"give it a priority below {low}, unless it is meant to be first"
        )
    if not wrong and not strangers:
        yield Result(NAME, node.url, OK, "the gate plugins run in their order, before all that may answer")
