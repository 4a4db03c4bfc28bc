"""The settings that a stock Kong needs to run kgate, as KONG_* environment variables.

Two lanes (docs/protocol.md): `pdk`, where the gate plugins are external plugins of Kong, and `express`, where
they are five-line Lua plugins. Kong prefers a Lua plugin to an external one of the same name, so the lane
is chosen by which folders stand on the Lua path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from kong_plugins.engine.registry import PLUGINS

Lane = Literal["pdk", "express"]
LANES: tuple[Lane, ...] = get_args(Lane)

ADAPTER_DIR = Path(__file__).parent / "adapter"
ADAPTER_PLUGINS = ("kgate-facts", "kgate")
KONG_USER = KONG_GROUP = "kong"
"""Whom Kong's workers run as in its images and packages (its setting nginx_user); in the images both are 1000."""
READ_TIMEOUT_MS = 300
"""Bounds a hung plugin server in the pdk lane: Kong's own default is 60 s."""


def express_socket(run_dir: Path) -> Path:
    """The socket of the express lane; the adapter uses it in both lanes."""
    return run_dir / "express.sock"


def plugin_socket(run_dir: Path, plugin: str) -> Path:
    """The pdk lane's socket of one plugin: Kong counts message ids per plugin, so none is shared."""
    return run_dir / f"{plugin}.sock"


def plugin_info_file(run_dir: Path, plugin: str) -> Path:
    """What Kong's `query_cmd` prints for one plugin."""
    return run_dir / f"{plugin}.json"


def kong_env(
    run_dir: Path, lane: Lane, adapter_dir: Path = ADAPTER_DIR, group: str = KONG_GROUP
) -> dict[str, str]:
    """Settings of a stock Kong for one lane.

    group: name of the group that the sockets belong to (`kgate serve --group`), where it is not Kong's own: its
    workers get it (nginx takes names only; used where Kong is started by root).
    run_dir: folder of the sockets and info files, as Kong sees it. adapter_dir: folder of the adapter's
    Lua, as Kong sees it (in a container: where it is mounted).
    """
    folders = [adapter_dir / "common"] + ([adapter_dir / "express"] if lane == "express" else [])
    env = {
        "KONG_PLUGINS": ",".join(["bundled", *ADAPTER_PLUGINS, *PLUGINS]),
        "KONG_LUA_PACKAGE_PATH": "".join(f"{folder}/?.lua;" for folder in folders) + ";",
    }
    if group != KONG_GROUP:
        env["KONG_NGINX_USER"] = f"{KONG_USER} {group}"
    if lane == "pdk":
        env["KONG_PLUGINSERVER_NAMES"] = ",".join(PLUGINS)
        for name in PLUGINS:
            prefix = f"KONG_PLUGINSERVER_{name.upper().replace('-', '_')}"
            env[f"{prefix}_SOCKET"] = str(plugin_socket(run_dir, name))
            env[f"{prefix}_QUERY_CMD"] = f"cat {plugin_info_file(run_dir, name)}"
        env["KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT"] = f"{READ_TIMEOUT_MS}ms"
    return env
