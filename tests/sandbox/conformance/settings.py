"""The settings that the suite's gateway is started with: the sandbox takes them, and a real Kong.

    python -m tests.sandbox.conformance.settings DIR

writes the info files of the suite's plugin servers into DIR and prints `export KONG_...` lines for a real Kong; the
suite then runs with `--kong-admin URL --kong-proxy URL --run-dir DIR`.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from tests.sandbox.conformance.plugin_server import BUFFERED, NAME, info

PLUGINS = Path(__file__).parents[1] / "plugins"


def gateway_settings(folder: Path) -> dict[str, str]:
    """KONG_* variables; sockets and info files of the plugin servers are in `folder`."""
    settings = {
        "KONG_PLUGINS": f"bundled,probe,{NAME},{BUFFERED}",
        "KONG_LUA_PACKAGE_PATH": f"{PLUGINS}/?.lua;;",
        "KONG_PLUGINSERVER_NAMES": f"{NAME},{BUFFERED}",
        # enough for an answer on any machine where there is one
        "KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT": "1500ms",
    }
    for name, phases in ((NAME, ["access", "log"]), (BUFFERED, ["access", "response", "log"])):
        path = folder / f"{name}.json"
        path.write_text(json.dumps(info(name, phases)))
        variable = f"KONG_PLUGINSERVER_{name.upper().replace('-', '_')}"
        settings[f"{variable}_SOCKET"] = str(folder / f"{name}.sock")
        settings[f"{variable}_QUERY_CMD"] = f"cat {path}"
    return settings


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in gateway_settings(folder).items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
