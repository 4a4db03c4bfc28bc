"""The analysts that run on a node: an explicit literal, as the gate plugins are."""

from __future__ import annotations

import os

from kong_plugins.abuse_guard import analyst as abuse_guard
from kong_plugins.canary_router import analyst as canary_router
from kong_plugins.engine.analyst import Analyst
from kong_plugins.state.cells import Cells
from kong_plugins.static_fallback.analyst import BreakerAnalyst
from kong_plugins.static_fallback.board import CellBoard


def build_analysts(cells: Cells) -> dict[str, Analyst]:
    """New analysts by the plugin whose configs they get."""
    return {
        "abuse-guard": abuse_guard.Analyst(os.urandom(16)),
        "canary-router": canary_router.CanaryAnalyst(cells),
        "static-fallback": BreakerAnalyst(CellBoard(cells)),
    }
