"""The analyst's board in the memory that filters read."""

from __future__ import annotations

from kong_plugins.state.cells import Cells, Permit
from kong_plugins.static_fallback import switch


class CellBoard:
    """See `analyst.Board`."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def show(self, key: str, state: int, at: int, until: float, now: float) -> None:
        """Set a state; without room or lock it is shown again a moment later."""
        switch.show(self._cells, key, state, at, int(until * switch.NS), int(now * switch.NS))

    def settle(self, key: str, began: int, permit: Permit, used: bool, now: float) -> None:
        """A trial's result is here."""
        switch.settle(self._cells, key, began, permit, used, int(now * switch.NS))
