"""What works with a database only, in files with a cluster that has none.

A DB-less node takes a key's `ttl` for the Unix time of the end, which has long passed (process_ttl_field in
kong/db/strategies/off/init.lua of Kong 3.9.3): the key is never accepted, and the Admin API answers 500 for its list.
Counters that the nodes share by the database are refused there, and by a control plane (is_dbless in
kong/plugins/rate-limiting/schema.lua).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from decl.findings import Problem
from decl.walk import Entity

CLUSTER_POLICY = ("rate-limiting", "response-ratelimiting")
"""The plugins with `policy: cluster`."""


def check_without_database(document: Mapping[str, Any], entities: Iterable[Entity]) -> Iterator[Problem]:
    """Keys with a ttl and counters in the database, where a cluster that gets them has none."""
    found = document.get("clusters")
    modes = {
        name: cluster.get("mode", "dbless")
        for name, cluster in (found.items() if isinstance(found, dict) else ())
        if isinstance(cluster, dict)
    }
    dbless = next((name for name, mode in modes.items() if mode == "dbless"), None)
    no_policy = next((name for name, mode in modes.items() if mode in ("dbless", "hybrid")), None)
    if no_policy is None:
        return
    for entity in entities:
        if entity.kind == "keyauth_credentials" and dbless and entity.values.get("ttl") is not None:
            message = (
                f"ttl: cluster {dbless!r} has no database, and its nodes never accept a key with an end; "
                "leave ttl out and remove the key in time"
            )
            yield Problem((*entity.path, "ttl"), "kong-check", message)
        elif entity.kind == "plugins" and entity.values.get("name") in CLUSTER_POLICY:
            config = entity.values.get("config")
            if isinstance(config, dict) and config.get("policy") == "cluster":
                message = (
                    f"policy: the nodes of cluster {no_policy!r} share no database, so Kong refuses 'cluster' there; "
                    "write redis or local"
                )
                yield Problem((*entity.path, "config", "policy"), "plugin-config", message)
