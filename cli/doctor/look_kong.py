"""Looking at Kong: its Admin API and its proxies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from cli.doctor.model import Node, Proxy
from decl import probe
from decl.admin import AdminClient, AdminError

Clock = Callable[[], float]


def look_at_node(client: AdminClient, clock: Clock) -> Node:
    """One node. Unix seconds come from `clock`."""
    url = client.node
    try:
        answer = client.request("GET", "/")
    except AdminError as error:
        return Node(url, error=error.reason)
    skew = _skew(answer.headers, clock())
    if answer.status != 200 or "version" not in answer.fields():
        said = f"answers HTTP {answer.status}" + (
            "" if answer.status != 200 else ", and not as Kong's Admin API does"
        )
        return Node(url, error=said, status=answer.status, skew=skew)
    node = Node(url, answer.fields(), skew=skew)
    return node._replace(
        plugins=_pages(client, "/plugins"),
        planes=_planes(client, clock() + (skew or 0.0)) if node.role == "control_plane" else None,
    )


def _planes(client: AdminClient, now: float) -> list[dict[str, object]] | None:
    """The data planes, each with `silent`: seconds since the control plane heard of it, by its own clock."""
    found = _pages(client, "/clustering/data-planes")
    for plane in found or ():
        seen = plane.get("last_seen")
        if isinstance(seen, int | float):
            plane["silent"] = now - seen
    return found


def _pages(client: AdminClient, path: str) -> list[dict[str, object]] | None:
    try:
        return client.pages(path)
    except AdminError:
        return None


def _skew(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the node's clock is ahead by its Date header, which has whole seconds."""
    try:
        told = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None
    return told + 0.5 - now


def look_at_proxy(url: str) -> Proxy:
    """One proxy."""
    found = probe.seen(url)
    return Proxy(url, found, "" if found else f"GET {url}{probe.PATH} is not answered by it")
