"""Operations on single records: what is stored, what the audit log says, what is refused; on both stores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from kong_plugins.state.base import Block, Conflict, Store
from kong_plugins.state.collections import DAY, HOUR
from kong_plugins.state.operations import allows, blocks, breakers, canaries, fallbacks, limits, revocations
from kong_plugins.state.operations.common import NotFound, Refused
from kong_plugins.state.records import Put
from tests.kong_plugins.state.stores import make, record, store

__all__ = ["make", "store"]

Call = Callable[..., Any]
ISSUER = "https://auth.example/"


def log(store: Store) -> list[tuple[str, str, str, str]]:
    return [(event.kind, event.subject, event.actor, event.reason) for event in store.events(100)]


# collection, what sets it, its arguments, key, event, default TTL, list, what removes it, its event
OPERATIONS: list[tuple[str, Call, tuple[Any, ...], str, str, float | None, Call, Call | None, str]] = [
    ("blocks", blocks.add, ("::ffff:203.0.113.7",), "ip 203.0.113.7", "block.add", None,
     blocks.entries, blocks.remove, "block.remove"),
    ("blocks", blocks.add, ("2001:DB8::/48",), "cidr 2001:db8::/48", "block.add", None,
     blocks.entries, blocks.remove, "block.remove"),
    ("blocks", blocks.add, ("user:https://a|kim",), "user https://a|kim", "block.add", None,
     blocks.entries, blocks.remove, "block.remove"),
    ("blocks", blocks.add, ("token:t-1",), "token t-1", "block.add", None,
     blocks.entries, blocks.remove, "block.remove"),
    ("blocks", blocks.add, ("agent:EvilBot/",), "agent evilbot/", "block.add", None,
     blocks.entries, blocks.remove, "block.remove"),
    ("allows", allows.add, ("203.0.113.0/24",), "cidr 203.0.113.0/24", "allow.add", None,
     allows.entries, allows.remove, "allow.remove"),
    ("allows", allows.add, ("user:kim",), "user kim", "allow.add", None,
     allows.entries, allows.remove, "allow.remove"),
    ("fallbacks", fallbacks.force, ("service:check out",), "service check out", "fallback.force", None,
     fallbacks.entries, fallbacks.clear, "fallback.clear"),
    ("revocations", revocations.revoke, ("token", ISSUER, "t-1"), f"token {ISSUER}|t-1", "passport.revoke", 30 * DAY,
     revocations.entries, revocations.restore, "passport.restore"),
    ("revocations", revocations.revoke, ("subject", ISSUER, "a|b"), f"subject {ISSUER}|a|b", "passport.revoke",
     30 * DAY, revocations.entries, revocations.restore, "passport.restore"),
    ("revocations", revocations.revoke, ("before", ISSUER), f"before {ISSUER}", "passport.revoke", 30 * DAY,
     revocations.entries, revocations.restore, "passport.restore"),
    ("limits", limits.reset, ("route:a",), "route:a", "limits.reset", HOUR, limits.entries, None, ""),
]  # fmt: skip


@pytest.mark.parametrize("ttl", [None, 60.0])
@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: f"{case[4]}-{case[3]}")
def test_set_renew_list_and_remove(store: Store, case: Any, ttl: float | None) -> None:
    collection, add, arguments, key, event, default, entries, remove, removed = case
    before = store.now()
    made = add(store, *arguments, actor="kim", reason="why", ttl=ttl)
    found = store.get(collection, key)
    assert found is not None
    assert (found.actor, found.reason, found.source, found.version) == ("kim", "why", "cli", 1)
    lasts = default if ttl is None else ttl
    if lasts is None:
        assert found.expires is None
    else:
        assert found.expires is not None
        assert before + lasts <= found.expires <= store.now() + lasts
    assert list(entries(store)) == [made]
    assert add(store, *arguments, actor="lee").version == 2
    expected = [(event, key, "kim", "why"), (event, key, "lee", "")]
    assert log(store) == expected
    first, second = store.events(2)
    assert first.data["before"] is None
    assert second.data["before"]["version"] == first.data["after"]["version"] == 1
    assert second.data["after"]["version"] == 2
    if remove is not None:
        remove(store, *arguments, actor="max", reason="over")
        assert list(entries(store)) == []
        assert log(store) == [*expected, (removed, key, "max", "over")]
        version = store.version()
        with pytest.raises(NotFound, match=r"kgate|not revoked"):
            remove(store, *arguments, actor="max")
        assert (store.version(), len(store.events(9))) == (version, 3)


@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: f"{case[4]}-{case[3]}")
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ttl": 0.0}, "ttl: 0 s"),
        ({"ttl": -5.0}, "ttl: -5 s"),
        ({"ttl": float("nan")}, "ttl"),
        ({"ttl": 3651 * DAY}, "ttl"),
        ({"reason": "x" * 201}, "reason"),
        ({"reason": "a\nb"}, "reason"),
        ({"actor": "\x1b[31m"}, "actor"),
    ],
)
def test_bad_input_writes_nothing(store: Store, case: Any, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        case[1](store, *case[2], **{"actor": "kim", **wrong})
    assert (store.version(), store.events(9)) == (0, [])


@pytest.mark.parametrize(
    ("call", "arguments", "says"),
    [
        (blocks.add, ("10.0.0.0/7",), "wider than /8"),
        (blocks.add, ("10.0.0.1/24",), "bits set"),
        (blocks.add, ("token:",), "a token id"),
        (blocks.add, ("agent:abc",), "4 to 200"),
        (blocks.add, ("agent:Mozilla/5.0",), "every browser"),
        (allows.add, ("agent:curl",), "only addresses, networks and users"),
        (allows.add, ("0.0.0.0/0",), "wider than /8"),
        (fallbacks.force, ("checkout",), "tenant:NAME, service:NAME, route:NAME"),
        (fallbacks.force, ("*",), "tenant:NAME"),
        (fallbacks.force, ("service: x",), "a name is"),
        (breakers.override, ("service:x", "half"), "open, closed, reset"),
        (breakers.override, ("x", "open"), "or \\*"),
        (revocations.revoke, ("token", "", "x"), "issuer"),
        (revocations.revoke, ("token", "a|b", "x"), "without |"),
        (revocations.revoke, ("token", "a", ""), "token"),
        (revocations.revoke, ("all", "a", "x"), "kind"),
        (limits.reset, ("",), "key"),
        (canaries.update, ("a b", {}), "name"),
        (canaries.update, ("c", {"percent": 101.0}), "percent"),
        (canaries.update, ("c", {"percent": float("nan")}), "percent"),
        (canaries.update, ("c", {"users": frozenset(map(str, range(501)))}), "kgate list import"),
        (canaries.update, ("c", {"users": frozenset("a"), "users_list": "l"}), "give one"),
    ],
)
def test_targets_that_cannot_be_right(
    store: Store, call: Call, arguments: tuple[Any, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        call(store, *arguments, actor="kim")
    assert store.version() == 0


@pytest.mark.parametrize(
    ("allowed", "target", "touches"),
    [
        ("203.0.113.0/24", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.0/24", True),
        ("203.0.113.0/24", "203.0.113.0/24", True),
        ("203.0.113.0/24", "203.0.114.1", False),
        ("203.0.113.7", "203.0.113.8/29", False),
        ("2001:db8::/32", "2001:db8:1::/48", True),
        ("2001:db8::/32", "32.1.13.184", False),
        ("user:kim", "user:https://a|kim", True),
        ("user:https://a|kim", "user:kim", True),
        ("user:https://a|kim", "user:https://b|kim", False),
        ("user:https://a|kim", "user:https://a", False),
        ("user:kim", "token:kim", False),
    ],
)
def test_what_is_allowed_cannot_be_blocked(store: Store, allowed: str, target: str, touches: bool) -> None:
    allows.add(store, "198.51.100.0/24", actor="kim")
    allows.add(store, "198.51.100.128/25", actor="kim")
    allows.add(store, allowed, actor="kim")
    if not touches:
        blocks.add(store, target, actor="kim")
        return
    with pytest.raises(Refused, match="touches the allow"):
        blocks.add(store, target, actor="kim")
    with pytest.raises(Refused, match="touches the allow"):
        blocks.add(store, target, actor="kim", dry_run=True)
    assert store.records("blocks") == []
    allows.remove(store, allowed, actor="kim")
    blocks.add(store, target, actor="kim")


def test_a_dry_run_writes_nothing(store: Store) -> None:
    made = blocks.add(store, "203.0.113.7", actor="kim", ttl=60, dry_run=True)
    assert made.expires == pytest.approx(made.created + 60, abs=20)
    assert (store.version(), store.events(9)) == (0, [])


def test_a_block_of_the_gateway_does_not_replace_an_operators(store: Store) -> None:
    own = blocks.add(store, "203.0.113.7", actor="kim", reason="scans")
    again = blocks.add(store, "203.0.113.7", actor="gw", ttl=60, if_absent=True, source="gateway:n1")
    assert again == own
    made = blocks.add(store, "203.0.113.8", actor="gw", ttl=60, if_absent=True, source="gateway:n1")
    assert (made.source, made.version) == ("gateway:n1", 1)
    assert len(store.events(9)) == 2


def test_canary_fields_change_alone(store: Store) -> None:
    canaries.update(store, "c", {"percent": 5.0}, actor="kim")
    canaries.update(store, "c", {"paused": True}, actor="lee", reason="errors", kind="canary.pause")
    ramp = {"points": [[0, 5], [60, 100]], "start": 1}
    found = canaries.update(
        store, "c", lambda old: old._replace(ramp=ramp, paused=not old.paused), actor="max", if_version=2
    )
    assert (found.percent, found.paused, found.ramp, found.version, found.actor) == (
        5.0,
        False,
        ramp,
        3,
        "max",
    )
    assert canaries.get(store, "c") == found
    assert canaries.entries(store) == [found]
    assert [event.kind for event in store.events(9)] == ["canary.set", "canary.pause", "canary.set"]
    assert canaries.reset(store, "c", actor="kim") == found
    assert canaries.get(store, "c") is None


def test_the_loser_is_told_what_changed(store: Store) -> None:
    canaries.update(store, "c", {"percent": 5.0}, actor="kim")
    seen = canaries.get(store, "c")
    assert seen is not None
    canaries.update(store, "c", {"percent": 50.0}, actor="lee", reason="go")
    for attempt in (
        lambda: canaries.update(store, "c", {"percent": 1.0}, actor="kim", if_version=seen.version),
        lambda: canaries.reset(store, "c", actor="kim", if_version=seen.version),
    ):
        with pytest.raises(Conflict, match="is at version 2, not 1") as caught:
            attempt()
        current = caught.value.current
        assert current is not None
        assert (current.actor, current.reason, current.data["percent"]) == ("lee", "go", 50.0)
    assert len(store.events(9)) == 2


def test_changes_at_the_same_time_are_all_made(store: Store) -> None:
    """Without a version that was seen, each change is made over what is there then."""

    def add(number: int) -> None:
        canaries.update(
            store,
            "c",
            lambda old: old._replace(users=(old.users or frozenset()) | {str(number)}),
            actor="kim",
        )

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = canaries.get(store, "c")
    assert found is not None
    assert (found.users, found.version) == (frozenset("0123"), 4)


def test_an_event_leaves_long_data_out(store: Store) -> None:
    users = frozenset(f"user-{number:08}" for number in range(500))
    canaries.update(store, "c", {"users": users}, actor="kim")
    assert store.events(1)[0].data["after"]["data"] == {"omitted": True}


@pytest.mark.parametrize(("state", "verb"), [("open", "open"), ("closed", "close"), ("reset", "reset")])
def test_breakers(store: Store, state: str, verb: str) -> None:
    made = breakers.override(store, "*", state, actor="kim", reason="r")
    assert (made.scope, made.value, made.state) == ("*", "", state)
    assert (made.expires is not None) == (state == "reset")
    assert breakers.entries(store) == [made]
    again = breakers.override(store, "*", state, actor="kim")
    assert again.changed >= made.changed
    assert breakers.clear(store, "*", actor="kim").version == 2
    with pytest.raises(NotFound, match="no breaker is held"):
        breakers.clear(store, "*", actor="kim")
    assert [event.kind for event in store.events(9)] == [f"breaker.{verb}"] * 2 + ["breaker.clear"]


def test_a_fallback_may_name_its_answer(store: Store) -> None:
    made = fallbacks.force(store, "route:a:b", actor="kim", name="busy")
    assert (made.scope, made.value, made.name) == ("route", "a:b", "busy")
    assert fallbacks.entries(store) == [made]


def test_before_never_goes_back(store: Store) -> None:
    now = store.now()
    made = revocations.revoke(store, "before", ISSUER, actor="kim")
    assert made.issued_before == pytest.approx(now, abs=30)
    again = revocations.revoke(store, "before", ISSUER, actor="kim", issued_before=now - 500)
    assert again.issued_before == made.issued_before
    with pytest.raises(ValueError, match="issued_before"):
        revocations.revoke(store, "token", ISSUER, "x", actor="kim", issued_before=now)


# check


def test_check_says_what_covers(store: Store) -> None:
    for target in ("203.0.113.7", "203.0.113.0/24", "203.0.112.0/20", "198.51.100.1", "user:kim", "token:i|t",
                   "agent:evilbot"):  # fmt: skip
        blocks.add(store, target, actor="kim")
    blocks.add(store, "203.0.0.0/16", actor="kim", ttl=0.01)
    end = store.now() + 0.02
    while store.now() < end:
        pass
    found = blocks.check(store, "::ffff:203.0.113.7")
    assert [block.value for block in found.blocks] == ["203.0.113.7", "203.0.113.0/24", "203.0.112.0/20"]
    assert found.refused
    assert [block.value for block in blocks.check(store, "203.0.113.0/25").blocks] == [
        "203.0.113.0/24",
        "203.0.112.0/20",
    ]
    assert blocks.check(store, "203.0.0.0/8").block is None
    assert blocks.check(store, "user:https://a|kim").refused
    assert not blocks.check(store, "user:lee").refused
    assert blocks.check(store, "token:i|t").refused
    assert not blocks.check(store, "token:t").refused
    assert blocks.check(store, "agent:Mozilla/5.0 (EvilBot 2)").refused
    store.apply([Put(record("ip 203.0.113.7", "allows"))])
    found = blocks.check(store, "203.0.113.7")
    assert found.allow is not None
    assert not found.refused
    assert found.block is not None
    assert isinstance(found.block, Block)


def test_a_removal_tells_what_still_covers(store: Store) -> None:
    blocks.add(store, "203.0.113.7", actor="kim")
    blocks.add(store, "203.0.113.0/24", actor="kim")
    removal = blocks.remove(store, "203.0.113.7", actor="kim")
    assert removal.block.value == "203.0.113.7"
    assert removal.left.block is not None
    assert removal.left.block.value == "203.0.113.0/24"
    with pytest.raises(NotFound, match=r"covered by 203\.0\.113\.0/24"):
        blocks.remove(store, "203.0.113.7", actor="kim")
