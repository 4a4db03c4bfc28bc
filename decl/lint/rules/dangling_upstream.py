"""A service's host that is nearly the name of an upstream.

A host that no upstream has is a DNS name to Kong. One that differs from an upstream's name in a letter or
two is more likely a typing error, and answers 503 `name resolution failed`.

Why: Kong 3.9.3 takes the host as it is: the mistake shows at the first request only.

PASS:
    upstreams:
    - {name: cart-v2, targets: [{target: "10.0.0.7:8080"}]}
    services:
    - {name: cart, host: cart-v2}
    - {name: docs, host: docs.internal}

FAIL:
    upstreams:
    - {name: cart-v2, targets: [{target: "10.0.0.7:8080"}]}
    services:
    - {name: cart, host: cart-2v}
    - {name: a, host: cart-v2}
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "dangling-upstream"
LEVEL: Level = WARNING

_COMPARISONS = 20_000
"""Comparing texts is slow: more than that is not looked at."""


def check(view: View) -> Iterator[Hit]:
    """Hosts without a dot that are close to an upstream's name."""
    names = {upstream.name for upstream in view.gateway.upstreams}
    left = _COMPARISONS
    for service in view.gateway.services:
        if "." in service.host or service.host in names:
            continue
        left -= len(names)
        if left < 0:
            return
        close = difflib.get_close_matches(service.host, names, 1, 0.8)
        if close:
            message = f"there is no upstream {service.host!r}; did you mean {close[0]!r}?"
            yield Hit((*service.path, "host"), message)
