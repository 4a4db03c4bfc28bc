"""server.yaml: what the plugin servers of a cluster need and Kong must not have, the trust anchors."""

from __future__ import annotations

from typing import Any

import yaml

from decl.late import plain
from decl.model import Gateway


def server_config(gateway: Gateway, cluster: str) -> dict[str, Any]:
    """server.yaml as a value: the issuers, and the cluster's `server` settings (passport keys, Redis)."""
    config: dict[str, Any] = {"issuers": [plain(issuer.fields) for issuer in gateway.issuers]}
    known = gateway.clusters.get(cluster)
    if known is not None:
        config.update(plain(known.server))
    return config


def server_yaml(gateway: Gateway, cluster: str) -> str:
    """The text of server.yaml."""
    text: str = yaml.safe_dump(server_config(gateway, cluster), sort_keys=False, allow_unicode=True)
    return text
