"""`on:` without quotes, which other tools read as `true:`.

kgate reads YAML 1.2, where `on` is text. decK, yq before 4, Kong itself and many editors read YAML 1.1,
where an unquoted `on` is the boolean true. `--fix` puts the quotes there.

Why: measured on Kong 3.9.3: its YAML reader makes an unquoted `on` the boolean true, and POST /config answers 500
"An unexpected error occurred". yamllint's truthy rule exists for it; YAML 1.2.2 dropped these words in section
10.3.2.

PASS:
    - name: static-fallback
      config: {responses: [{"on": [502], body: x}]}

FAIL:
    - name: static-fallback
      config: {responses: [{on: [502], body: x}]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.construct import PLAIN_TAG
from decl.findings import WARNING, Level
from decl.lint.hit import Fix, Hit
from decl.lint.view import View

ID = "yaml-on-key"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Unquoted `on` keys of prepared answers."""
    if view.sources is None:
        return
    for placed in view.by_name.get("static-fallback", ()):
        for index in range(len(placed.plugin.config.get("responses") or ())):
            path = (*placed.plugin.path, "config", "responses", index, "on")
            node = view.sources.node(path, at_key=True)
            if node is not None and node.tag == PLAIN_TAG:
                fix = Fix(path, "on", at_key=True, style="quoted")
                yield Hit(path, 'other tools read on: as true:; write "on":', at_key=True, fix=fix)
