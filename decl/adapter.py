"""The adapter's own config: two plugins for all requests of a cluster.

`kgate-facts` collects what the filters need (headers), `kgate` guards and applies; both talk to the plugin
server's socket. `strip` names the headers that only the gateway may set.
"""

from __future__ import annotations

from typing import Any

from decl.model import Gateway

DEFAULT_RUN_DIR = "/run/kgate"
SOCKET = "express.sock"

SEND = (
    "authorization",
    "cookie",
    "user-agent",
    "accept",
    "content-type",
    "origin",
    "access-control-request-method",
    "traceparent",
)
"""Request headers that the filters may look at."""

STRIP = ("X-Passport", "Txn-Token", "X-Canary", "X-Abuse-Score")
"""Request headers that the gateway sets: a client's own are removed, in every spelling."""

NAMES = ("kgate-facts", "kgate")


def adapter_plugins(gateway: Gateway, run_dir: str | None) -> list[dict[str, Any]]:
    """The two plugins without ids. No plugin config of this version names headers of its own, so the lists
    are the defaults; they depend on the gateway as soon as one does."""
    socket = f"{run_dir or DEFAULT_RUN_DIR}/{SOCKET}"
    return [
        {"name": "kgate-facts", "config": {"socket": socket, "headers": list(SEND)}},
        {"name": "kgate", "config": {"socket": socket, "strip": list(STRIP)}},
    ]
