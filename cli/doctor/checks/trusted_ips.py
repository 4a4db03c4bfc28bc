"""Whose word counts for a client's address: blocks and limits by address stand on it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Node, Result, World
from cli.doctor.values import texts

NAME = "trusted-ips"
WIDE = 8
"""A network of this many bits or less is more than a set of load balancers."""


def check(world: World) -> Iterator[Result]:
    """Each node that serves requests."""
    for node in world.known:
        if node.role == "control_plane":
            yield Result(
                NAME,
                node.url,
                SKIPPED,
                "a control plane serves no requests",
                "run doctor on a data plane with --prefix",
            )
        else:
            yield _one(node, world)


def _one(node: Node, world: World) -> Result:
    found = texts(node.settings.get("trusted_ips"))
    wide = [text for text in found if _wide(text)]
    if wide:
        said = f"{', '.join(wide)}: a client may say itself which address it has"
        do = "set KONG_TRUSTED_IPS to your load balancers' networks alone"
        return Result(NAME, node.url, ERROR, said, do)
    wished = world.trusted_ips
    if wished is not None and set(wished) != set(found):
        said = f"{', '.join(found) or 'nobody'}, but the file says {', '.join(wished) or 'nobody'}"
        return Result(
            NAME, node.url, ERROR, said, "make KONG_TRUSTED_IPS and clusters.*.trusted_ips the same"
        )
    if not found:
        said = "nobody is trusted: behind a load balancer all clients would have its address"
        do = "set KONG_TRUSTED_IPS to the load balancers' networks; without any, write trusted_ips: [] in the cluster"
        return Result(NAME, node.url, OK if wished is not None else WARNING, said, do)
    header = node.settings.get("real_ip_header")
    recursive = node.settings.get("real_ip_recursive")
    if str(header).lower() == "x-forwarded-for" and recursive != "on":
        said = "X-Forwarded-For is read without real_ip_recursive: behind two proxies a client chooses its address"
        return Result(NAME, node.url, WARNING, said, "set KONG_REAL_IP_RECURSIVE=on")
    return Result(NAME, node.url, OK, f"{', '.join(found)} by {header}")


def _wide(text: str) -> bool:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False  # unix:
    private = network.is_private and network.prefixlen > 0
    return network.prefixlen < WIDE or (network.prefixlen == WIDE and not private)
