"""The garbage collector of a process that serves requests."""

from __future__ import annotations

import gc


def settle() -> None:
    """Take what is in memory now out of the garbage collector's rounds: modules and configs stay, and a full round
    over them would hold up a request for 15 ms. What ends is still freed."""
    gc.collect()
    gc.freeze()
