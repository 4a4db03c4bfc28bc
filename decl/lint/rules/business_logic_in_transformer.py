"""A transformer that writes bodies.

Renaming and composing fields of a body is the front server's work: the gateway would have to know each
version of each answer. More than `fields` body operations are reported.

Why: kong/plugins/response-transformer/handler.lua (3.9) asks for the whole body in body_filter, parses it and
writes it again: the client gets nothing before the service's last byte.

PASS:
    - {name: response-transformer, config: {remove: {json: [debug]}}}

FAIL:
    - {name: response-transformer, config: {add: {json: ["a:1", "b:2", "c:3"]}, rename: {json: ["d:e"]}}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.values import items
from decl.lint.view import View

ID = "business-logic-in-transformer"
LEVEL: Level = WARNING
OPTIONS = {"fields": 3}


def check(view: View) -> Iterator[Hit]:
    """Transformers with too many body operations."""
    for name, field in (("request-transformer", "body"), ("response-transformer", "json")):
        for placed in view.by_name.get(name, ()):
            operations = [v for v in placed.plugin.config.values() if isinstance(v, dict)]
            count = sum(len(items(v.get(field))) for v in operations)
            if count > view.option(ID, "fields"):
                yield Hit(
                    placed.plugin.path, f"{count} operations on the body; that is the front server's work"
                )
