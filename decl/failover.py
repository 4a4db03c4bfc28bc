"""Whether a cluster can take over a tenant: it has the tenant's config, and its parts are well.

Only questions are asked; what to do with the answer is the operator's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from decl.admin import AdminClient, AdminError
from decl.diff import diff
from decl.flatten import Flat, flatten
from decl.kinds import KINDS
from decl.live import read_live, schemas_of
from decl.model import Gateway
from decl.render import Rendered, render

_GOOD = ("HEALTHY", "HEALTHCHECKS_OFF")


class Check(NamedTuple):
    """One thing that was looked at on one node."""

    node: str
    what: str
    ok: bool
    detail: str


def check_node(client: AdminClient, gateway: Gateway, whole: Rendered, tenant: str) -> Iterator[Check]:
    """What one node of the cluster says. whole: the cluster's rendered config, resolved."""
    node = client.node
    try:
        status = client.get("/status")
    except AdminError as error:
        yield Check(node, "answers", False, str(error))
        return
    database = status.get("database") or {}
    if whole_hash := status.get("configuration_hash"):
        same = whole_hash == whole.hash
    else:
        same = False
        reachable = bool(database.get("reachable", True))
        yield Check(node, "database", reachable, "reachable" if reachable else "not reachable")
    try:
        if same:
            yield Check(node, "config", True, f"hash {whole.hash}")
        else:
            yield _has_config(client, gateway, whole, tenant)
        yield from _upstreams(client, gateway, whole.cluster, tenant)
    except AdminError as error:
        yield Check(node, "answers", False, str(error))


def _has_config(client: AdminClient, gateway: Gateway, whole: Rendered, tenant: str) -> Check:
    """The tenant's own entities, compared with what the node holds."""
    ids = tenant_ids(gateway, whole.cluster, tenant)
    wanted = _picked(flatten(whole.document), ids)
    live = _picked(read_live(client), ids)
    changes = diff(wanted, live, schemas_of(client)).changes
    if not changes:
        return Check(client.node, "config", True, f"{len(ids)} entities of the tenant are there")
    named = ", ".join(f"{KINDS[change.kind].singular} {change.name}" for change in changes[:5])
    more = f" and {len(changes) - 5} more" if len(changes) > 5 else ""
    return Check(client.node, "config", False, f"lacks or differs in {named}{more}; kgate sync first")


def tenant_ids(gateway: Gateway, cluster: str, tenant: str) -> frozenset[str]:
    """The ids of what belongs to a tenant: its services with all in them, and the upstreams that they use."""
    document = render(gateway, cluster, tenant).document
    mine: set[str] = set()
    services = document.get("services", ())
    _collect(services, mine)
    used = {service["host"] for service in services}
    plugins = [p for s in services for one in (s, *s.get("routes", ())) for p in one.get("plugins", ())]
    used |= {p.get("config", {}).get("upstream") for p in plugins if p["name"] == "canary-router"}
    _collect([u for u in document.get("upstreams", ()) if u["name"] in used], mine)
    return frozenset(mine)


def _collect(items: Sequence[dict[str, Any]], into: set[str]) -> None:
    for item in items:
        into.add(item["id"])
        for child in ("routes", "plugins", "targets"):
            _collect(item.get(child, ()), into)


def _picked(flat: Flat, ids: frozenset[str]) -> Flat:
    return {kind: {key: item for key, item in found.items() if key in ids} for kind, found in flat.items()}


def _upstreams(client: AdminClient, gateway: Gateway, cluster: str, tenant: str) -> Iterator[Check]:
    """Each upstream of the tenant has a target that gets requests."""
    ids = tenant_ids(gateway, cluster, tenant)
    for upstream in render(gateway, cluster, tenant).document.get("upstreams", ()):
        if upstream["id"] not in ids:
            continue
        try:
            found = client.pages(f"/upstreams/{upstream['name']}/health")
        except AdminError as error:
            yield Check(client.node, f"upstream {upstream['name']}", False, str(error))
            continue
        good = sum(str(target.get("health")) in _GOOD and target.get("weight") != 0 for target in found)
        detail = f"{good} of {len(found)} targets get requests"
        yield Check(client.node, f"upstream {upstream['name']}", good > 0, detail)
