"""Blocks: what can be blocked (`targets.py`) and an index over blocks (`target_view.py`), under their old names."""

from __future__ import annotations

from kong_plugins.state.snapshot import block_index as Blocks
from kong_plugins.state.target_view import is_live
from kong_plugins.state.targets import parse_target

__all__ = ["Blocks", "is_live", "parse_target"]
