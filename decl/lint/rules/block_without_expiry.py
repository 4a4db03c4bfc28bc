"""A block in the control state that has no end.

Addresses change hands. Give blocks a `--ttl`. Looked at only with `kgate lint --redis URL`, because blocks
stand in the control state and not in files.

Why: an address blocked for good hits whoever gets it next; mobile networks hand the same one to thousands. Kong
3.9's own list has no end to set either (kong/plugins/ip-restriction/schema.lua), so such lists only grow.

PASS:
    services: []
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "block-without-expiry"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Blocks of the control state without an end; all in one finding."""
    endless = view.state.endless if view.state is not None else ()
    if endless:
        shown = ", ".join(endless[:5]) + (f" and {len(endless) - 5} more" if len(endless) > 5 else "")
        yield Hit((), f"blocks without an end: {shown}; set them again with --ttl")
