"""A serverless function that does a service's work.

The gateway does cross-cutting work: a snippet that calls services, builds bodies or grows past `lines`
lines is a service without tests, logs and a team.

Why: measured on Kong 3.9.3: an error in an access snippet is a 500 for the client, one in header_filter closes the
connection without an answer. A snippet that blocks stops all requests of its worker; the talk this gateway is made
after keeps composition in the front servers.

PASS:
    - {name: pre-function, config: {access: ["kong.service.request.set_header('x', '1')"]}}

FAIL:
    - {name: pre-function, config: {access: ["local http = require 'resty.http'; kong.response.exit(200, http.new():request_uri('http://a').body)"]}}

FAIL:
    - {name: pre-function, config: {access: ["kong.response.exit(200, {items = {}})"]}}

FAIL:
    - {name: post-function, config: {body_filter: ["ngx.arg[1] = ngx.arg[1]:gsub('a', 'b')"]}}

PASS:
    - {name: pre-function, config: {access: ["kong.response.exit(403, {message = 'no'}) -- not resty.http"]}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.values import texts
from decl.lint.view import View

ID = "business-logic-in-snippet"
LEVEL: Level = WARNING
OPTIONS = {"lines": 20}

_CALLOUT = re.compile(
    r"resty\.http|ngx\.location\.capture|ngx\.socket|socket\.tcp|resty\.(redis|mysql)|luasocket"
)


_COMPOSES = re.compile(
    r"ngx\.arg\[1\]\s*=(?!=)|\bset_raw_body\b|\brequest\.set_body\b|\bresponse\.exit\(\s*2\d\d\s*,|\bngx\.(?:say|print)\b"
)
_COMMENT = re.compile(r"--\[(=*)\[.*?\]\1\]|(?:^|(?<=\s))--[^\n]*", re.DOTALL)


def check(view: View) -> Iterator[Hit]:
    """Snippets with callouts, bodies, or too many lines."""
    for name in ("pre-function", "post-function"):
        for placed in view.by_name.get(name, ()):
            for path, text in texts(placed.plugin.config, (*placed.plugin.path, "config")):
                code = _COMMENT.sub(" ", text)
                lines = len(text.strip().splitlines())
                if found := _CALLOUT.search(code):
                    yield Hit(path, f"a snippet calls out ({found.group()}); that is a service's work")
                elif found := _COMPOSES.search(code):
                    yield Hit(path, f"a snippet writes a body ({found.group()}); that is a service's work")
                elif lines > view.option(ID, "lines"):
                    yield Hit(path, f"a snippet of {lines} lines; that is a service's work")
