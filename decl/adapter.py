"""The adapter's own config: two plugins for all requests of a cluster.

`kgate-facts` collects what the filters need (headers), `kgate` guards and applies; both talk to the plugin
server's socket. `strip` names the headers that only the gateway may set.
"""

from __future__ import annotations

import contextlib
from typing import Any

from decl.model import Gateway
from kong_plugins.abuse_guard import config as abuse_guard
from kong_plugins.canary_router import config as canary_router
from kong_plugins.passport import config as passport

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
    """The two plugins without ids. The lists are the defaults and, after them, what the configs name."""
    socket = f"{run_dir or DEFAULT_RUN_DIR}/{SOCKET}"
    read, written = _named(gateway)
    return [
        {"name": "kgate-facts", "config": {"socket": socket, "headers": [*SEND, *sorted(read - {*SEND})]}},
        {"name": "kgate", "config": {"socket": socket, "strip": [*STRIP, *sorted(written - {*STRIP})]}},
    ]


def _named(gateway: Gateway) -> tuple[set[str], set[str]]:
    """Headers that passports are made of, that canaries look at, and that passports stand in. A config that
    cannot be used names none: it is told elsewhere."""
    read: set[str] = set()
    written: set[str] = set()
    for _, _, plugin in gateway.all_plugins():
        if plugin.name == "passport":
            with contextlib.suppress(ValueError):
                headers, header = passport.header_names(passport.parse(plugin.config))
                read.update(headers)
                written.add(header)
        elif plugin.name == "canary-router":
            read |= canary_router.header_names(plugin.config)
        if plugin.name == "abuse-guard":
            with contextlib.suppress(ValueError):
                read.update(abuse_guard.parse(plugin.config).sent_headers)
    return read, written
