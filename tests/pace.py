"""How long things may take in a test.

A requirement in seconds is about an idle machine. `make test` also runs on a small machine that does other things at
the same time, where the same bound fails without a fault: there it has room, which still tells "at once" from "after
a timeout". KGATE_TIGHT=1 (as `make chaos` sets it) holds the requirements themselves.
"""

from __future__ import annotations

import os

TIGHT = os.environ.get("KGATE_TIGHT", "") not in ("", "0")


def within(seconds: float) -> float:
    """The bound of this run for something that is required within so many seconds."""
    return seconds if TIGHT else 4 * seconds + 2
