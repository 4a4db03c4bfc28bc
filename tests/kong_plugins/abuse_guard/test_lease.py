"""For how long abuse-guard's decision stands: without bound where nothing is counted and nobody is let pass by a word
that ends by itself; else not at all."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.abuse_guard.config import parse
from kong_plugins.abuse_guard.lease import lease
from kong_plugins.abuse_guard.trace import hash_of_user
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.lease import NONE, UNBOUNDED
from kong_plugins.state.base import State
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import snapshot_of_dump

NOW = 1000.0
IP = "203.0.113.7"
KIM = Identity("https://a", "kim")
LIMITS = {"limits": [{"name": "ip", "key": ["ip"], "rate": 5, "per": 60}]}
SCENARIOS = {"scenarios": [{"use": "path-scan"}]}
SCORE = {"score": 5, "reasons": ["x"]}
MARK = ("marks", f"ip {IP}", SCORE)
OF_KIM = ("marks", f"user {hash_of_user(KIM) or KIM.key}", SCORE)
ALLOWED = ("allows", f"ip {IP}", {})
Key = tuple[str, str, dict[str, Any]]


def seconds(
    config: dict[str, Any], *records: Key, identity: Identity | None = None, expires: float | None = None
) -> Any:
    held: dict[str, list[Record]] = {}
    for collection, key, data in records:
        held.setdefault(collection, []).append(Record(collection, key, data, expires=expires))
    state = State(snapshot_of_dump(StateDump(1, held, {})), trust=None)  # type: ignore[arg-type]
    facts = Facts("r1", IP, "https", "GET", "h", "/", "/", "r", "s", "t", "", frozenset(), {}, identity)
    return lease(facts, parse(config), state, NOW)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"deny": ["192.0.2.0/24"]},
        {"deny_lists": ["bad"]},
        {"allow": [IP]},
        {"blocks": False},
        {"headers": False, "max_blocked_traffic": 0.5},
    ],
)
@pytest.mark.parametrize("identity", [None, KIM])
def test_what_changes_with_the_control_state_alone_stands_without_bound(
    config: dict[str, Any], identity: Identity | None
) -> None:
    assert seconds(config, identity=identity) == UNBOUNDED
    other = [
        ("marks", "ip 192.0.2.9", SCORE),
        ("marks", "user https://a|lee", SCORE),
        ("blocks", "ip 192.0.2.1", {}),
        ("allows", "ip 192.0.2.1", {}),
        ("allows", "user https://a|lee", {}),
    ]
    assert seconds(config, *other, identity=identity) == UNBOUNDED


@pytest.mark.parametrize(
    ("config", "records", "identity"),
    [
        (LIMITS, [], None),
        (LIMITS, [], KIM),
        ({"limits": [{"name": "user", "key": ["user"], "rate": 5, "per": 60}]}, [], KIM),
        (SCENARIOS, [], None),
        ({"allow_lists": ["staff"]}, [], None),
        ({"allow_lists": ["staff"], "blocks": False}, [], KIM),
        ({}, [MARK], None),
        ({"blocks": False}, [MARK], None),
        ({}, [("marks", "cidr 203.0.113.0/24", SCORE)], KIM),
        ({}, [OF_KIM], KIM),
        ({}, [ALLOWED], None),
        ({}, [("allows", "cidr 203.0.113.0/24", {})], KIM),
        ({"deny": ["192.0.2.0/24"]}, [ALLOWED], None),
        ({"allow": [IP]}, [ALLOWED], None),
        ({}, [("allows", "user https://a|kim", {})], KIM),
        ({}, [("allows", "user kim", {})], KIM),
    ],
)
def test_there_is_none(config: dict[str, Any], records: list[Key], identity: Identity | None) -> None:
    assert seconds(config, *records, identity=identity) == NONE


@pytest.mark.parametrize(
    ("config", "records", "identity"),
    [
        ({"blocks": False}, [ALLOWED], None),
        ({"blocks": False}, [("allows", "user https://a|kim", {})], KIM),
        ({}, [("allows", "user https://a|kim", {})], None),
        ({}, [("allows", "user https://b|kim", {})], KIM),
    ],
)
def test_an_allow_that_does_not_apply_takes_nothing_away(
    config: dict[str, Any], records: list[Key], identity: Identity | None
) -> None:
    assert seconds(config, *records, identity=identity) == UNBOUNDED


@pytest.mark.parametrize(("expires", "stands"), [(NOW + 0.01, False), (NOW, True), (NOW - 1, True)])
@pytest.mark.parametrize("key", [f"ip {IP}", "user https://a|kim"])
def test_an_allow_that_has_ended_does_not_count(key: str, expires: float, stands: bool) -> None:
    found = seconds({}, ("allows", key, {}), identity=KIM, expires=expires)
    assert found == (UNBOUNDED if stands else NONE)
