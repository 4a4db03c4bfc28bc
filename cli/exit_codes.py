"""Exit codes: one table for all commands.

0  done, nothing to report          5  applied in part
1  failed                           6  rolled back
2  wrong usage                      7  lock held by another run
3  changes pending (diff)           8  stale plan
4  findings (validate, lint)        9  drift
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
CHANGES_PENDING: Final = 3
FINDINGS: Final = 4
PARTIAL: Final = 5
ROLLED_BACK: Final = 6
LOCK_HELD: Final = 7
STALE_PLAN: Final = 8
DRIFT: Final = 9
