"""Two missing answers in a second open it; a probe each half second; a good answer closes it."""

from __future__ import annotations

import pytest

# (time, event, expected): allow -> bool; ("miss", seconds waited)
TABLE = {
    "closed": [(0, "allow", True), (0, "miss", None), (0.1, "allow", True)],
    "two misses within a second": [(0, "miss", None), (0.9, "miss", None), (0.9, "allow", False)],
    "two misses further apart": [(0, "miss", None), (1.1, "miss", None), (1.1, "allow", True)],
    "the second of the late ones counts anew": [
        (0, "miss", None),
        (1.1, "miss", None),
        (1.5, "miss", None),
        (1.5, "allow", False),
    ],
    "waiting does not count": [(1.2, ("miss", 1.2), None), (2.4, ("miss", 1.2), None), (2.4, "allow", False)],
    "but a pause does": [(0.3, ("miss", 0.3), None), (1.7, ("miss", 0.3), None), (1.7, "allow", True)],
    "a good answer between": [
        (0, "miss", None),
        (0.1, "good", None),
        (0.2, "miss", None),
        (0.2, "allow", True),
    ],
    "one probe each half second": [
        (0, "miss", None),
        (0, "miss", None),
        (0.4, "allow", False),
        (0.5, "allow", True),
        (0.6, "allow", False),
        (0.99, "allow", False),
        (1.0, "allow", True),
    ],
    "counted from the probe's end, and later by what it took": [
        (0, "miss", None),
        (0, "miss", None),
        (0.5, "allow", True),
        (1.1, ("miss", 0.6), None),
        (2.19, "allow", False),
        (2.21, "allow", True),
    ],
    "after two seconds in which nobody asked all may, and one miss is enough": [
        (0, "miss", None),
        (0, "miss", None),
        (1.9, "allow", True),
        (3.8, "allow", True),
        (3.8, "allow", False),
        (6, "allow", True),
        (6, "allow", True),
        (6.3, ("miss", 0.3), None),
        (6.3, "allow", False),
        (6.8, "allow", True),
    ],
    "and a good answer closes it": [
        (0, "miss", None),
        (0, "miss", None),
        (9, "allow", True),
        (9, "good", None),
        (9.1, "miss", None),
        (9.1, "allow", True),
    ],
    "a good answer closes": [
        (0, "miss", None),
        (0, "miss", None),
        (0.5, "allow", True),
        (0.5, "good", None),
        (0.5, "allow", True),
        (0.6, "miss", None),
        (0.6, "allow", True),
    ],
}


@pytest.mark.parametrize("name", TABLE)
def test_breaker(world, name):
    breaker = world.module("kgate.breaker").new()
    for now, event, expected in TABLE[name]:
        event, waited = event if isinstance(event, tuple) else (event, 0)
        at = 1000 + now
        code = "local b, event, now, asked = ...; return b[event](b, now, asked)"
        assert world.run(code, breaker, event.encode(), at, at - waited) == expected, (now, event)
