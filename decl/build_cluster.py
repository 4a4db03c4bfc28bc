"""A cluster of the files as an object of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decl.model import Cluster


def build_cluster(name: str, values: Mapping[str, Any]) -> Cluster:
    """The cluster of this name, of values that were validated."""
    admin = values.get("admin", {})
    return Cluster(
        name=name,
        path=("clusters", name),
        mode=values.get("mode", "dbless"),
        nodes=tuple(node.rstrip("/") for node in values.get("nodes", ())),
        headers=dict(admin.get("headers", {})),
        ca=admin.get("ca"),
        client_cert=admin.get("client_cert"),
        client_key=admin.get("client_key"),
        proxy=tuple(url.rstrip("/") for url in values.get("proxy", ())),
        strategy=values.get("strategy", "rolling"),
        gate=values.get("gate", {}),
        timeout=float(admin.get("timeout", 10)),
        run_dir=values.get("run_dir", "/run/kgate").rstrip("/"),
        server=values.get("server", {}),
        plugins=tuple(values.get("plugins", ())),
        trusted_ips=tuple(values["trusted_ips"]) if "trusted_ips" in values else None,
        dns=values.get("dns", {}),
    )
