"""Kong answers, and is of a version that kgate is proven with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Node, Result, World

NAME = "kong-version"
OLDEST, PROVEN = (3, 4), (3, 9)
_VERSION = re.compile(r"(\d+)\.(\d+)")


def check(world: World) -> Iterator[Result]:
    """Each node by itself."""
    for node in world.nodes:
        yield _one(node)
    if not world.nodes:
        yield Result(NAME, "", SKIPPED, "no Admin API was named", "give --node http://HOST:8001, or -f FILE")


def _one(node: Node) -> Result:
    if node.info is None:
        if node.status == 500:
            # Kong 3.9 answers 500 to GET / while a plugin server that it has started itself runs (Kong#14260)
            do = (
                "take pluginserver_*_start_cmd out of Kong's settings: kgate serve is started by its own unit"
            )
            return Result(NAME, node.url, ERROR, "GET / answers 500, so its settings cannot be read", do)
        do = (
            "start Kong, or give the right Admin API by --node (a data plane has none: --prefix); for access rules "
            "see clusters.*.admin in the file"
        )
        return Result(NAME, node.url, ERROR, node.error, do)
    if node.info.get("sandbox"):
        said = "it is kgate's sandbox, a preview and test tool: settings of Kong alone are not looked at"
        return Result(NAME, node.url, WARNING, said, "serve real clients with Kong 3.9 (image kong:3.9)")
    if node.info.get("prefix"):
        said = f"runs as {node.role}, database {node.settings.get('database')}"
        return Result(NAME, node.url, OK, said)  # a data plane's version is told by its control plane
    version = str(node.info.get("version") or "")
    found = _VERSION.match(version)
    if found is None:
        return Result(NAME, node.url, ERROR, "it tells no version", "give the Admin API of a Kong by --node")
    numbers = int(found[1]), int(found[2])
    if numbers < OLDEST or numbers[0] > PROVEN[0]:
        said = f"Kong {version} is not one that kgate runs on"
        return Result(NAME, node.url, ERROR, said, "install Kong 3.9 (image kong:3.9)")
    if numbers != PROVEN:
        said = f"Kong {version}: kgate is proven with 3.9, for this one its source was read only"
        return Result(
            NAME, node.url, WARNING, said, "install Kong 3.9, or run tests/e2e against this node first"
        )
    return Result(
        NAME, node.url, OK, f"Kong {version}, {node.role}, database {node.settings.get('database')}"
    )
