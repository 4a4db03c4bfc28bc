"""A number that JSON does not have.

`.nan` and `.inf` are YAML numbers and no JSON: in a prepared answer they become the texts ".nan" and
".inf", which the client does not expect where a number was.

Why: RFC 8259 section 6: numbers that cannot be written as digits are not permitted. Measured on Kong 3.9.3: its
YAML reader takes `.nan` as a number and its JSON writer refuses it, so POST /config answers 500 "An unexpected
error occurred".

PASS:
    - {name: static-fallback, config: {responses: [{on: [502], json: {price: null}}]}}

FAIL:
    - {name: static-fallback, config: {responses: [{on: [502], json: {price: .nan}}]}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.values import texts
from decl.lint.view import View

ID = "json-not-a-number"
LEVEL: Level = WARNING

_NOT_JSON = re.compile(r"[-+]?\.(nan|NaN|NAN|inf|Inf|INF)")


def check(view: View) -> Iterator[Hit]:
    """Texts in prepared JSON that YAML means as numbers."""
    for placed in view.by_name.get("static-fallback", ()):
        for index, answer in enumerate(placed.plugin.config.get("responses") or ()):
            path = (*placed.plugin.path, "config", "responses", index, "json")
            for at, text in texts(answer.get("json"), path):
                if _NOT_JSON.fullmatch(text):
                    yield Hit(at, f"{text} is no JSON number; write null or a number")
