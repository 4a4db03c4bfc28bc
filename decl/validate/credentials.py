"""Credentials: a key with an end of its own works with a database only.

A DB-less node takes `ttl` for the Unix time of the end, which has long passed (process_ttl_field in
kong/db/strategies/off/init.lua of Kong 3.9.3): the key is never accepted, and the Admin API answers 500 for its list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from decl.findings import Problem
from decl.walk import Entity


def check_credentials(document: Mapping[str, Any], entities: Iterable[Entity]) -> Iterator[Problem]:
    """Keys with a ttl, where a cluster that gets them is DB-less."""
    clusters = document.get("clusters")
    without = [
        name
        for name, cluster in (clusters.items() if isinstance(clusters, dict) else ())
        if isinstance(cluster, dict) and cluster.get("mode", "dbless") == "dbless"
    ]
    if not without:
        return
    for entity in entities:
        if entity.kind == "keyauth_credentials" and entity.values.get("ttl") is not None:
            message = (
                f"ttl: cluster {without[0]!r} has no database, and its nodes never accept a key with an end; "
                "leave ttl out and remove the key in time"
            )
            yield Problem((*entity.path, "ttl"), "kong-check", message)
