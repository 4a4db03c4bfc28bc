"""Prepared answers that are too many megabytes.

One body may have 64 KB, all bodies of one cluster `bytes` (2 MB): Kong takes 10 MB of config in all, and each of its
workers keeps the answers in memory. Put what is larger into a front server.

Why: measured on Kong 3.9.3: more than 10 MB of config are answered 413.

PASS:
    services:
    - name: a
      url: http://a
      plugins: [{name: static-fallback, config: {responses: [{on: [502], text: short}]}}]
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "fallback-size"
LEVEL: Level = ERROR
OPTIONS = {"bytes": 2_000_000}


def check(view: View) -> Iterator[Hit]:
    """The instance with which a cluster's answers become too large. A service without a cluster is in all of them."""
    most = view.option(ID, "bytes")
    clusters = tuple(view.gateway.clusters) or ("",)
    sizes: Counter[str] = Counter()
    told: set[str] = set()
    for placed in view.by_name.get("static-fallback", ()):
        size = _size(placed.plugin.config)
        service = placed.service
        tenant = view.gateway.tenants.get(service.tenant or "") if service is not None else None
        named = [name for name in (tenant.cluster, tenant.standby) if name] if tenant is not None else []
        for cluster in named or clusters:
            sizes[cluster] += size
            if sizes[cluster] > most and cluster not in told:
                told.add(cluster)
                where = f" of cluster {cluster!r}" if cluster else ""
                message = f"the prepared answers{where} have {sizes[cluster]} bytes, {most} are allowed"
                yield Hit(placed.plugin.path, message)


def _size(config: Mapping[str, Any]) -> int:
    responses = config.get("responses")
    total = 0
    for response in responses if isinstance(responses, list) else ():
        if not isinstance(response, Mapping):
            continue
        for field in ("body", "text"):
            if isinstance(response.get(field), str):
                total += len(response[field].encode("utf-8", "surrogatepass"))
        if "json" in response:
            total += len(json.dumps(response["json"], default=str, separators=(",", ":")))
    return total
