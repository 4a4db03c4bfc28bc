"""The settings that a stock Kong needs to run kgate, as KONG_* environment variables.

Two lanes (docs/protocol.md): `pdk`, where the gate plugins are external plugins of Kong, and `express`, where
they are five-line Lua plugins. Kong prefers a Lua plugin to an external one of the same name, so the lane
is chosen by which folders stand on the Lua path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, get_args

from kong_plugins.engine.registry import PLUGINS

Lane = Literal["pdk", "express"]
LANES: tuple[Lane, ...] = get_args(Lane)
Role = Literal["traditional", "control_plane", "data_plane"]
ROLES: tuple[Role, ...] = get_args(Role)

ADAPTER_DIR = Path(__file__).parent / "adapter"
ADAPTER_PLUGINS = ("kgate-facts", "kgate")
KONG_USER = KONG_GROUP = "kong"
"""Whom Kong's workers run as in its images and packages (its setting nginx_user). Their numbers differ from image
to image (kong:3.9 stands on Ubuntu 24.04, which has a user 1000 of its own): containers share a group instead."""
DIRECT = "-direct"
"""Ends the names of the pdk lane's sockets of today (`direct_socket`)."""
READ_TIMEOUT_MS = 300
"""Bounds a hung plugin server in the pdk lane: Kong's own default is 60 s."""


def express_socket(run_dir: Path) -> Path:
    """The socket of the express lane; the adapter uses it in both lanes."""
    return run_dir / "express.sock"


def direct_socket(run_dir: Path, plugin: str) -> Path:
    """The pdk lane's socket of one plugin: there the server calls the adapter's own functions. Kong counts message
    ids per plugin, so none is shared. (`PLUGIN.sock` beside it is for adapters of the version before.)"""
    return run_dir / f"{direct_lane(plugin)}.sock"


def direct_lane(plugin: str) -> str:
    """The name of a plugin's `direct_socket` within the server and in its log."""
    return f"{plugin}{DIRECT}"


def plugin_info_file(run_dir: Path, plugin: str) -> Path:
    """What Kong's `query_cmd` prints for one plugin."""
    return run_dir / f"{plugin}.json"


class Hybrid(NamedTuple):
    """What a node of a hybrid Kong needs beside its role: the shared certificate (files, as Kong sees them) and, on a
    data plane, where the control plane is (HOST:PORT)."""

    control_plane: str = "kong-cp:8005"
    cert: str = "/etc/kong/cluster.crt"
    key: str = "/etc/kong/cluster.key"


def kong_env(
    run_dir: Path,
    lane: Lane,
    adapter_dir: Path = ADAPTER_DIR,
    group: str = KONG_GROUP,
    role: Role = "traditional",
    hybrid: Hybrid | None = None,
) -> dict[str, str]:
    """Settings of a stock Kong for one lane.

    group: name of the group that the sockets belong to (`kgate serve --group`), where it is not Kong's own: its
    workers get it (nginx takes names only; used where Kong is started by root). A number sets nothing: whoever starts
    Kong gives it the group (`group_add` in compose, `supplementalGroups` in Kubernetes).
    role: in a hybrid Kong both planes need the plugins, for their schemas; only data planes talk to a plugin server.
    run_dir: folder of the sockets and info files, as Kong sees it. adapter_dir: folder of the adapter's
    Lua, as Kong sees it (in a container: where it is mounted).
    """
    folders = [adapter_dir / "common"] + ([adapter_dir / "express"] if lane == "express" else [])
    env = {
        "KONG_PLUGINS": ",".join(["bundled", *ADAPTER_PLUGINS, *PLUGINS]),
        "KONG_LUA_PACKAGE_PATH": "".join(f"{folder}/?.lua;" for folder in folders) + ";",
    }
    if group != KONG_GROUP and not group.isdigit():
        env["KONG_NGINX_USER"] = f"{KONG_USER} {group}"
    if lane == "pdk":
        env["KONG_PLUGINSERVER_NAMES"] = ",".join(PLUGINS)
        for name in PLUGINS:
            prefix = f"KONG_PLUGINSERVER_{name.upper().replace('-', '_')}"
            env[f"{prefix}_SOCKET"] = str(direct_socket(run_dir, name))
            env[f"{prefix}_QUERY_CMD"] = f"cat {plugin_info_file(run_dir, name)}"
        env["KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT"] = f"{READ_TIMEOUT_MS}ms"
    return env | _role_env(role, hybrid or Hybrid())


def _role_env(role: Role, hybrid: Hybrid) -> dict[str, str]:
    if role == "traditional":
        return {}
    env = {"KONG_ROLE": role, "KONG_CLUSTER_CERT": hybrid.cert, "KONG_CLUSTER_CERT_KEY": hybrid.key}
    if role == "control_plane":
        return env | {"KONG_DATABASE": "postgres"}
    return env | {"KONG_DATABASE": "off", "KONG_CLUSTER_CONTROL_PLANE": hybrid.control_plane}
