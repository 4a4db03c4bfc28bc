"""DNS records of a tenant's hosts for one cluster, as OctoDNS YAML or as lines of a zone file.

A host's record points at the cluster's `dns`: a CNAME (an ALIAS at the zone's own name, where a CNAME is not
allowed, RFC 1912 section 2.4), or A and AAAA records of its addresses.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from decl.model import Cluster, Tenant

DEFAULT_TTL = 60
"""Seconds: what a fail-over can wait for."""


class Record(NamedTuple):
    """One record set: its name within the zone ("" is the zone itself), type, values and seconds to live."""

    zone: str
    name: str
    kind: str
    values: tuple[str, ...]
    ttl: int


def records(tenant: Tenant, cluster: Cluster) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """The records that send a tenant's hosts to a cluster, and the hosts that DNS cannot name (`shop.*`).

    Raises ValueError when the cluster does not say where it is, or a host is not in the tenant's zone.
    """
    values = _values(cluster)
    found, skipped = [], []
    for host in tenant.hosts:
        name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host.lower()
        if name.endswith(".*"):
            skipped.append(host)
            continue
        zone = str(tenant.dns.get("zone") or ".".join(name.split(".")[-2:])).rstrip(".").lower()
        if name != zone and not name.endswith(f".{zone}"):
            raise ValueError(f"host {host!r} is not in zone {zone!r} of tenant {tenant.name!r}")
        label = name.removesuffix(zone).rstrip(".")
        ttl = int(tenant.dns.get("ttl") or cluster.dns.get("ttl") or DEFAULT_TTL)
        for kind, texts in values:
            found.append(Record(zone, label, "ALIAS" if kind == "CNAME" and not label else kind, texts, ttl))
    return tuple(found), tuple(skipped)


def _values(cluster: Cluster) -> list[tuple[str, tuple[str, ...]]]:
    name = cluster.dns.get("cname")
    addresses = cluster.dns.get("addresses") or ()
    if (name is None) == (not addresses):
        raise ValueError(f"cluster {cluster.name!r} must say dns.cname or dns.addresses, one of them")
    if name is not None:
        return [("CNAME", (f"{str(name).rstrip('.')}.",))]
    by_kind: dict[str, list[str]] = {}
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise ValueError(f"cluster {cluster.name!r}: dns.addresses: {error}") from error
        by_kind.setdefault("A" if address.version == 4 else "AAAA", []).append(str(address))
    return [(kind, tuple(texts)) for kind, texts in sorted(by_kind.items())]


def zone_lines(found: Iterable[Record]) -> list[str]:
    """Lines of a zone file (RFC 1035 section 5.1), with full names."""
    return [
        f"{record.name + '.' if record.name else ''}{record.zone}.\t{record.ttl}\tIN\t{record.kind}\t{value}"
        for record in found
        for value in record.values
    ]


def octodns(found: Iterable[Record], zones: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The content of OctoDNS's zone files, by zone, with the records of these names replaced.

    zones: what the files hold now. Records of other types (MX, TXT) at the same names stay; names are sorted,
    as OctoDNS wants them.
    """
    changed: dict[str, dict[str, Any]] = {}
    replaced: set[tuple[str, str]] = set()
    for record in found:
        zone = changed.setdefault(record.zone, dict(zones.get(record.zone) or {}))
        known = zone.get(record.name, [])
        entries = list(known) if isinstance(known, list) else [known]
        if (record.zone, record.name) not in replaced:
            replaced.add((record.zone, record.name))
            entries = [entry for entry in entries if entry.get("type") not in ("A", "AAAA", "CNAME", "ALIAS")]
        values = record.values
        own: dict[str, Any] = {"ttl": record.ttl, "type": record.kind}
        own.update({"value": values[0]} if len(values) == 1 else {"values": list(values)})
        entries.append(own)
        zone[record.name] = entries[0] if len(entries) == 1 else entries
    return {zone: dict(sorted(content.items(), key=_natural)) for zone, content in sorted(changed.items())}


def _natural(item: tuple[str, Any]) -> list[tuple[str, int]]:
    """OctoDNS refuses another order (octodns/yaml.py, by natsort): numbers by their value, before all else."""
    parts = re.split(r"([0-9]+)", str(item[0]))
    return [(text, int(number or 0)) for text, number in zip_longest(parts[::2], parts[1::2])]
