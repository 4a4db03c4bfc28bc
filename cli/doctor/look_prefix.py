"""Looking at a Kong of this machine by its prefix: a data plane has no Admin API that could tell its settings.

Kong writes what it runs with to PREFIX/.kong_env, `name = value` a line (kong/cmd/utils/prefix_handler.lua); only the
roles traditional and control_plane get an Admin API (kong/templates/nginx_kong.lua).
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from cli.doctor.model import Node

_LISTS = ("trusted_ips",)
_DIRECTIVE = "nginx_proxy_"
_SERVER = "pluginserver_"
_PROC = Path("/proc")


def look_at_prefix(prefix: Path) -> Node:
    """The node of a prefix, with its settings as the Admin API would tell them."""
    try:
        text = (prefix / ".kong_env").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return Node(str(prefix), error=f"its .kong_env cannot be read: {error.strerror or error}")
    told = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            told[name.strip()] = value.strip().replace("\\#", "#")
    settings: dict[str, Any] = dict(told)
    for name in _LISTS:
        settings[name] = _listed(settings.get(name, ""))
    settings["loaded_plugins"] = dict.fromkeys(_listed(settings.get("plugins", "bundled")), True)
    settings["nginx_proxy_directives"] = [
        {"name": name.removeprefix(_DIRECTIVE), "value": value}
        for name, value in told.items()
        if name.startswith(_DIRECTIVE)
    ]
    settings["pluginservers"] = [
        _server(name, told) for name in _listed(settings.get("pluginserver_names", ""))
    ]
    pids = {"workers": _workers(prefix)}
    return Node(
        str(prefix),
        {"configuration": settings, "prefix": True, "pids": pids, "hostname": socket.gethostname()},
    )


def _listed(text: str) -> list[str]:
    return [
        part for part in (part.strip() for part in text.split(",")) if part and part not in ("off", "NONE")
    ]


def _server(name: str, told: dict[str, str]) -> dict[str, str | None]:
    key = _SERVER + name.replace("-", "_")
    return {"name": name, "socket": told.get(f"{key}_socket"), "start_command": told.get(f"{key}_start_cmd")}


def _workers(prefix: Path) -> list[int]:
    """The processes below nginx's master."""
    try:
        master = int((prefix / "pids" / "nginx.pid").read_text())
        return [int(pid) for pid in (_PROC / f"{master}/task/{master}/children").read_text().split()]
    except (OSError, ValueError):
        return []
