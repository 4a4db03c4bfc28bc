r"""A path that looks like a regular expression but is none.

Since Kong 3.0 a path is a regular expression only when it begins with `~`. Without it the path is compared
letter by letter and matches nothing. `--fix` puts the `~` before it.

Why: Kong 3.0 changed this; `deck convert` exists for it, and old files keep being pasted.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/users/\\d+$", /plain.path/x-y_z]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["/users/\\d+$"]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Fix, Hit
from decl.lint.view import View

ID = "regex-without-tilde"
LEVEL: Level = WARNING

_REGEX = re.compile(r"\\[dwsDWSb.]|\[[^\]]*\]|\(\?|\([^)]*\)|\.\*|\.\+|[$^]|\{\d+,?\d*\}$")


def check(view: View) -> Iterator[Hit]:
    """Plain paths with what only a regex needs."""
    for found in view.routes:
        for index, path in enumerate(found.route.fields.get("paths") or ()):
            if not path.startswith("~") and _REGEX.search(path):
                at = (*found.route.path, "paths", index)
                message = f"{path} is compared letter by letter; a regular expression begins with ~"
                yield Hit(at, message, fix=Fix(at, "~" + path, style="quoted"))
