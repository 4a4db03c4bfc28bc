r"""A path that looks like a regular expression, a template or a glob, but is compared letter by letter.

Since Kong 3.0 a path is a regular expression only when it begins with `~`. Without it the path is compared
letter by letter and matches nothing. `--fix` puts the `~` before what is a regular expression; `{id}` and `*`
are none, there a person has to say what is meant: `~/users/(?<id>[^/]+)$`, or `/files/`, which is a prefix already.

Why: Kong 3.0 changed this; `deck convert` exists for it, and old files keep being pasted. Measured on Kong 3.9.3:
neither `/y/{id}` nor `/x/*` gets the requests for /y/1 and /x/1.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/users/\\d+$", /plain.path/x-y_z, /wiki/c++_(language), "/price-$5", "/a*b"]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["/users/\\d+$"]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["/users/{id}/orders"]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["/files/*"]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Fix, Hit
from decl.lint.matching import compile_path
from decl.lint.view import View

ID = "regex-without-tilde"
LEVEL: Level = WARNING

_REGEX = re.compile(r"\\[dwsDWSb.]|\[[^\]]*\]|\(\?|\([^)]*[|?*+.\\\[][^)]*\)|\.\*|\.\+|\$$|/\^|\{\d+,?\d*\}$")
_TEMPLATE = re.compile(r"\{[A-Za-z_][\w-]*\}|/:[A-Za-z_]\w*")
_GLOB = re.compile(r"\*(?=/|$)")


def check(view: View) -> Iterator[Hit]:
    """Plain paths with what only a regex, a template or a glob needs."""
    for found in view.routes:
        for index, path in enumerate(found.route.fields.get("paths") or ()):
            if path.startswith("~"):
                continue
            at = (*found.route.path, "paths", index)
            about = f"{path} is compared letter by letter"
            if _TEMPLATE.search(path):
                yield Hit(at, f"{about}; write ~{_TEMPLATE.sub('[^/]+', path)}")
            elif _REGEX.search(path):
                fix = Fix(at, "~" + path, style="quoted") if compile_path("~" + path) else None
                yield Hit(at, f"{about}; a regular expression begins with ~", fix=fix)
            elif _GLOB.search(path):
                yield Hit(at, f"{about}; a path is a prefix, or a regular expression that begins with ~")
