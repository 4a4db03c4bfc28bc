"""Write the generated parts of the adapter: the express plugins' schema.json (`make generated`).

They are the bytes that the pdk lane's query commands print; a test compares them.
"""

from __future__ import annotations

from pathlib import Path

from kong_plugins.engine.plugin import plugin_info_json
from kong_plugins.engine.registry import PLUGINS

EXPRESS = Path(__file__).parent / "express" / "kong" / "plugins"


def schema_files() -> dict[Path, str]:
    """The files and what they shall hold."""
    return {EXPRESS / name / "schema.json": plugin_info_json(name) for name in PLUGINS}


def main() -> None:
    """Write them."""
    for path, text in schema_files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
