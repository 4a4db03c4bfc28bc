"""Leases: a verdict is found again for equal facts alone, and only while the server vouches for it."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.server.told import numbered_frame

from .conftest import World

NOW = 1000.0
ID = "0" * 32
EPOCH = 77
USER = [1, ID, "192.0.2.1", "https", "GET", "h", "/a", "/%61", "route", "service", "tenant", "00-1", ""]
HEADERS = ["authorization", "Bearer x", "cookie", "a=b", "traceparent", "00-1", "user-agent", "curl"]
FACTS = [*USER, *HEADERS]
VERDICT = {
    "v": 1,
    "n": ID,
    "s": ["X-Passport", "eyJ"],
    "m": "b=1",
    "rs": "ok",
    "tn": "order",
    "ch": "ab" * 16,
}
MAX = 4096


def facts(*changes: tuple[int, str], headers: list[str] = HEADERS) -> list[Any]:
    """FACTS with another element at a place (from 1, as in docs/protocol.md)."""
    changed = [*USER, *headers]
    for place, value in changes:
        changed[place - 1] = value
    return changed


def of_user(number: int, name: str = "authorization") -> list[Any]:
    return facts(headers=[name, f"user {number}"])


class Leases:
    """The module, one route's plan, and one connection."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.module = world.module("kgate.leases")
        self.plan = world.table({"n": 1})
        self.link = world.table({"epoch": EPOCH, "heard": NOW, "closed": False})

    def verdict(self, epoch: Any = EPOCH, till: float = NOW + 5, **fields: Any) -> Any:
        return self.world.table({**VERDICT, "l": {"till": till, "epoch": epoch}, **fields})

    def keep(self, given: list[Any] = FACTS, verdict: Any = None, now: float = NOW, plan: Any = None) -> bool:
        verdict = self.verdict() if verdict is None else verdict
        plan = self.plan if plan is None else plan
        kept = self.module.keep(plan, self.world.table(given), len(given), verdict, self.link, now)
        return bool(kept)

    def find(self, asked: list[Any] = FACTS, now: float = NOW, plan: Any = None) -> Any:
        plan = self.plan if plan is None else plan
        return self.module.find(plan, self.world.table(asked), len(asked), now)

    def holds(self, asked: list[Any] = FACTS, now: float = NOW) -> bool:
        return self.find(asked, now) is not None

    def same(self, one: Any, other: Any) -> bool:
        return bool(self.world.run("local a, b = ... return rawequal(a, b)", one, other))


@pytest.fixture
def leases(world: World) -> Leases:
    return Leases(world)


def test_the_verdict_is_given_again(leases: Leases) -> None:
    assert not leases.holds()
    assert leases.keep()
    found = leases.world.py(leases.find())
    assert found == {**VERDICT, "m": "b=1 lease=ok"}


@pytest.mark.parametrize(
    ("place", "value"),
    [(1, "2"), (2, "another"), (7, "/b"), (8, "/b?"), (12, "00-2"), (12, ""), (19, "00-2"), (19, "")],
    ids=["protocol", "id", "path", "raw path", "traceparent", "none", "its header", "an empty one"],
)
def test_each_request_has_a_path_an_id_and_a_trace_of_its_own(leases: Leases, place: int, value: str) -> None:
    leases.keep()
    assert leases.holds(facts((place, value)))


@pytest.mark.parametrize(
    "asked",
    [
        facts((3, "192.0.2.2")),
        facts((3, "")),
        facts((4, "http")),
        facts((5, "POST")),
        facts((5, "OPTIONS")),
        facts((6, "other")),
        facts((6, "H")),
        facts((13, "cookie")),
        facts((13, "traceparent")),
        facts((15, "Bearer y")),
        facts((15, "")),
        facts((17, "a=c")),
        facts((21, "wget")),
        facts((21, "")),
        facts(headers=[]),
        facts(headers=HEADERS[:-2]),
        facts(headers=HEADERS[2:]),
        facts(headers=[*HEADERS[:2], *HEADERS[4:]]),
        facts(headers=[*HEADERS[:4], *HEADERS[6:]]),
        facts(headers=[*HEADERS, "x-more", ""]),
        facts(headers=["accept", "*/*", *HEADERS]),
        facts(headers=[*HEADERS[6:], *HEADERS[:6]]),
        facts(headers=[*HEADERS[:6], "x-agent", "curl"]),
        facts(headers=[*HEADERS[:4], "x-trace", "00-1", *HEADERS[6:]]),
        facts(headers=[*HEADERS[:6], "traceparent", "curl"]),
    ],
)
def test_it_is_found_for_equal_facts_alone(leases: Leases, asked: list[Any]) -> None:
    assert leases.keep()
    assert not leases.holds(asked)
    assert leases.holds(), "and is there yet"
    leases.keep(asked)
    assert leases.holds(asked)


@pytest.mark.parametrize("count", range(1, 9))
def test_each_of_any_number_of_headers_counts(leases: Leases, count: int) -> None:
    headers = [word for number in range(count) for word in (f"x-{number}", f"{number}")]
    assert leases.keep(facts(headers=headers))
    for place in range(2 * count):
        other = [*headers]
        other[place] = "another"
        assert not leases.holds(facts(headers=other)), place
    assert leases.holds(facts(headers=headers))


@pytest.mark.parametrize("place", [3, 4, 5, 6, 13, 14, 15, 17, 20, 21])
def test_each_fact_counts_in_what_was_kept_too(leases: Leases, place: int) -> None:
    leases.keep(facts((place, "another")))
    assert not leases.holds()


def test_what_stands_after_the_facts_in_the_table_is_none_of_them(leases: Leases) -> None:
    """The table is filled again for each request, and a longer one leaves something."""
    table = leases.world.table([*FACTS[:15], "cookie", "of the one before"])
    leases.module.keep(leases.plan, table, 15, leases.verdict(), leases.link, NOW)
    assert leases.holds(FACTS[:15])
    assert leases.module.find(leases.plan, table, 15, NOW) is not None
    assert leases.module.find(leases.plan, table, 17, NOW) is None


def test_the_table_may_be_filled_again(leases: Leases) -> None:
    table = leases.world.table(FACTS)
    leases.module.keep(leases.plan, table, len(FACTS), leases.verdict(), leases.link, NOW)
    for place in range(1, len(FACTS) + 1):
        table[place] = b"of the next one"
    assert leases.holds()


OVER: dict[str, tuple[dict[str, Any], float]] = {
    "time is over": ({"heard": NOW + 5}, NOW + 5),
    "another epoch": ({"epoch": EPOCH + 1}, NOW),
    "an epoch before": ({"epoch": EPOCH - 1}, NOW),
    "a beat that was none": ({"epoch": None}, NOW),
    "the connection ended": ({"closed": True}, NOW),
    "silence": ({}, NOW + 0.125),
    "a clock that was set back": ({}, NOW - 0.001),
    "heard later than now": ({"heard": NOW + 1}, NOW),
}


@pytest.mark.parametrize(("link", "now"), OVER.values(), ids=OVER)
def test_it_is_over(leases: Leases, link: dict[str, Any], now: float) -> None:
    assert leases.keep()
    assert leases.holds(now=NOW + 0.09)
    for key, value in link.items():
        leases.link[key.encode()] = value
    assert not leases.holds(now=now)
    assert not leases.keep(of_user(1), now=now), "nor is it kept"
    leases.link = leases.world.table({"epoch": EPOCH, "heard": now, "closed": False})
    assert not leases.holds(of_user(1), now=now)


def test_it_lasts_as_long_as_beats_come(leases: Leases) -> None:
    leases.keep(verdict=leases.verdict(till=NOW + 0.5))
    for tick in range(1, 20):
        now = NOW + tick * 0.025
        assert leases.holds(now=now)
        leases.link[b"heard"] = now
    leases.link[b"heard"] = NOW + 0.5
    assert leases.holds(now=NOW + 0.499) is False, "a clock that was set back"
    leases.link[b"heard"] = NOW + 0.49
    assert leases.holds(now=NOW + 0.499)
    assert not leases.holds(now=NOW + 0.5)


def test_silence_of_a_tenth_of_a_second(leases: Leases) -> None:
    leases.link[b"heard"] = 0.0
    leases.keep(now=0.0)
    assert leases.holds(now=0.0999)
    assert not leases.holds(now=0.1)
    leases.link[b"heard"] = 0.05
    assert leases.holds(now=0.1), "a beat that came late"


def test_a_clock_that_is_set_back_makes_none_longer(leases: Leases) -> None:
    """The beats go on by the new clock, and the lease was to end by the old one."""
    assert leases.keep()
    leases.link[b"heard"] = NOW - 900
    assert not leases.holds(now=NOW - 900)
    assert leases.keep(now=NOW - 900), "what was said before is still there for a short answer"
    assert leases.holds(now=NOW - 900)
    leases.link[b"heard"] = NOW - 889
    assert not leases.holds(now=NOW - 889)


def test_long_headers_are_asked_for(leases: Leases) -> None:
    """A user who varies them could fill the memory of a worker."""
    of_one = [*HEADERS[:-1], "x" * (12288 - sum(map(len, HEADERS[:-1])))]
    assert leases.keep(facts(headers=of_one))
    assert not leases.keep(facts(headers=[*of_one[:-1], of_one[-1] + "x"]))


def test_another_plan_has_other_leases(leases: Leases) -> None:
    """A route, and each new configuration of it."""
    other = leases.world.table({"n": 1})
    leases.keep()
    assert leases.find(plan=other) is None
    leases.keep(plan=other, verdict=leases.verdict(tn="pay"))
    assert leases.world.py(leases.find(plan=other))["tn"] == "pay"
    assert leases.world.py(leases.find())["tn"] == "order"


@pytest.mark.parametrize("before", [[], ["accept", "x"], ["accept", "x", "accept-language", "de"]])
@pytest.mark.parametrize("name", ["authorization", "cookie"])
def test_users_behind_one_address_have_their_own(leases: Leases, name: str, before: list[str]) -> None:
    users = [facts(headers=[*before, name, f"user {number}"]) for number in range(3)]
    for number in (1, 2):
        leases.keep(users[number], leases.verdict(tn=f"of {number}"))
    for number in (1, 2):
        assert leases.world.py(leases.find(users[number]))["tn"] == f"of {number}"
    assert not leases.holds(users[0])


@pytest.mark.parametrize("headers", [[], ["user-agent", "curl"]])
def test_addresses_without_credentials_have_their_own(leases: Leases, headers: list[str]) -> None:
    for ip in ("192.0.2.1", "192.0.2.2"):
        leases.keep(facts((3, ip), headers=headers), leases.verdict(tn=ip))
    for ip in ("192.0.2.1", "192.0.2.2"):
        assert leases.world.py(leases.find(facts((3, ip), headers=headers)))["tn"] == ip


@pytest.mark.parametrize("before", [[], ["accept", "x"], ["cookie", "session=1"]])
def test_a_user_has_one_at_a_time(leases: Leases, before: list[str]) -> None:
    """By the token, where there is one, else by the cookies: else there would be many of each user."""
    first, second = (facts(headers=[*before, "authorization", "x", "user-agent", each]) for each in "ab")
    leases.keep(first)
    leases.keep(second)
    assert [leases.holds(first), leases.holds(second)] == [False, True]


def test_what_is_a_token_here_and_a_cookie_or_an_address_there(leases: Leases) -> None:
    """They are looked up by the same text."""
    all_three = [
        facts(headers=["authorization", "192.0.2.1"]),
        facts(headers=["cookie", "192.0.2.1"]),
        facts(headers=[]),
    ]
    for one in all_three:
        leases.keep(one)
        assert [leases.holds(other) for other in all_three] == [other is one for other in all_three]


def test_they_are_bounded(leases: Leases) -> None:
    other = leases.world.table({"n": 1})
    verdict = leases.verdict()
    for number in range(MAX - 1):
        leases.keep(of_user(number), verdict, plan=(leases.plan, other)[number % 2])
    for number in range(0, 2 * MAX, 2):
        leases.keep(of_user(number % 100), verdict)
    assert leases.find(of_user(1), plan=other) is not None, "the same users again are no more"
    assert leases.holds(of_user(MAX - 2))
    leases.keep(of_user(MAX - 1), verdict)
    assert leases.holds(of_user(MAX - 2)), "so many there may be"
    leases.keep(of_user(MAX - 2), verdict)
    assert leases.holds(of_user(MAX - 1)), "another lease of one of them takes no room"
    assert leases.keep(of_user(MAX))
    assert leases.holds(of_user(MAX))
    assert not leases.holds(of_user(MAX - 2))
    assert leases.find(of_user(1), plan=other) is None
    for number in range(MAX + 1, 2 * MAX):
        leases.keep(of_user(number), verdict)
    assert leases.holds(of_user(MAX)), "as many again"
    leases.keep(of_user(2 * MAX), verdict)
    assert not leases.holds(of_user(MAX))


def test_those_of_a_configuration_that_is_gone_are_gone(leases: Leases) -> None:
    watch = leases.world.run("weak = setmetatable({}, { __mode = 'k' }) return weak")
    watch[leases.link] = True
    leases.keep()
    collect = "collectgarbage() collectgarbage() local n = 0 for _ in pairs(weak) do n = n + 1 end return n"
    del leases.link
    assert leases.world.run(collect) == 1
    del leases.plan
    assert leases.world.run(collect) == 0


@pytest.mark.parametrize(
    ("fields", "memo"),
    [
        ({}, "b=1 lease=ok"),
        ({"rs": None}, "b=1 lease="),
        ({"m": None}, "lease=ok"),
        ({"m": None, "rs": None}, "lease="),
        ({"m": ""}, " lease=ok"),
    ],
)
def test_the_memo_says_that_nobody_was_asked(leases: Leases, fields: dict[str, Any], memo: str) -> None:
    leases.keep(verdict=leases.verdict(**fields))
    assert leases.world.py(leases.find())["m"] == memo
    leases.keep(verdict=leases.verdict(**fields))
    assert leases.world.py(leases.find())["m"] == memo


def test_what_is_remembered_of_the_connection_does_not_change(leases: Leases) -> None:
    remembered = leases.verdict()
    before = leases.world.py(remembered)
    leases.keep(verdict=remembered)
    found = leases.find()
    assert not leases.same(found, remembered)
    assert leases.world.py(remembered) == before
    # the server says something else of it
    remembered[b"l"] = None
    assert leases.holds()
    remembered[b"l"] = leases.world.table({"till": NOW, "epoch": EPOCH + 1})
    assert leases.holds()


def test_a_new_lease_takes_the_place_of_the_one_before(leases: Leases) -> None:
    leases.keep()
    leases.link[b"epoch"] = EPOCH + 1
    assert leases.keep(verdict=leases.verdict(epoch=EPOCH + 1, tn="pay"))
    assert leases.world.py(leases.find())["tn"] == "pay"


def test_one_that_does_not_hold_any_more_leaves_the_one_before(leases: Leases) -> None:
    leases.keep()
    assert not leases.keep(verdict=leases.verdict(till=NOW))
    assert leases.holds()


NONE = [None, [], [5000], "5000", 5000, True, ["5000", EPOCH], [5000, "77"], [None, EPOCH], {"a": 1}]


@pytest.mark.parametrize(
    "said", [*NONE, [0, EPOCH], [-1, EPOCH], [-5000, EPOCH], [5000, EPOCH + 1], [5000, 0]]
)
def test_a_verdict_without_a_lease_that_holds_is_not_kept(leases: Leases, said: Any) -> None:
    answers, told = leases.world.module("kgate.answers"), leases.world.table({})
    for lease, kept in (([5000, EPOCH], True), (said, False)):
        wire = {**VERDICT, "d": 3, "l": lease}
        if lease is None:
            del wire["l"]
        data = numbered_frame(wire, 1 << 16)
        verdict, sound = answers.read(data, 5, len(data), ID.encode(), told)
        assert sound
        given = of_user(int(kept))
        assert leases.keep(given, verdict) is kept
        assert leases.holds(given) is kept
