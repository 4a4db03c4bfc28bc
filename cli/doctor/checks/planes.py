"""Hybrid: the data planes have the control plane's config, and its version."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Node, Result, World

NAME = "data-planes"
SILENT = 120.0
"""Seconds: a data plane says every 30 s that it is there."""


def check(world: World) -> Iterator[Result]:
    """Each control plane."""
    for node in world.known:
        if node.role == "control_plane":
            yield from _one(node)


def _one(node: Node) -> Iterator[Result]:
    if node.planes is None:
        do = "see what /clustering/data-planes answers"
        yield Result(NAME, node.url, SKIPPED, "its data planes could not be read", do)
        return
    if not node.planes:
        do = "start a data plane: `kgate kong-env --role data_plane --control-plane HOST:8005`"
        yield Result(NAME, node.url, WARNING, "no data plane was ever connected", do)
    version = str((node.info or {}).get("version") or "")
    hashes = {str(plane.get("config_hash")) for plane in node.planes}
    for plane in node.planes:
        target = str(plane.get("hostname") or plane.get("ip") or plane.get("id"))
        state = str(plane.get("sync_status") or "unknown")
        silent = plane.get("silent")
        if isinstance(silent, int | float) and silent > SILENT:
            do = "start it again, or see why it does not reach the control plane; Kong forgets it after two weeks"
            yield Result(NAME, target, ERROR, f"not heard of for {silent:.0f} s", do)
        elif state != "normal":
            said = f"does not take the config: {state.replace('_', ' ')}"
            do = "give it the same plugins, Kong version and adapter as the control plane; see its error log"
            yield Result(NAME, target, ERROR, said, do)
        elif str(plane.get("version") or version) != version:
            said = f"Kong {plane.get('version')}, the control plane has {version}"
            yield Result(NAME, target, WARNING, said, "bring it to the control plane's version")
        elif len(hashes) > 1:
            yield Result(NAME, target, WARNING, "data planes have different configs", "wait, then look again")
        else:
            yield Result(NAME, target, OK, "has the control plane's config")
