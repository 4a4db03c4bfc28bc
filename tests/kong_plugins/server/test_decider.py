"""The decider: one content, one id, in every process; and an error of a filter is no verdict."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine import chain
from kong_plugins.engine.facts import PROTOCOL
from kong_plugins.engine.lease import NONE, Condition, Lease
from kong_plugins.engine.verdict import PASS
from kong_plugins.server.deadline import Deadline
from kong_plugins.server.decider import ConfigError, Decider, UnknownConfig, config_id, config_text

from .conftest import NOW

Record = Callable[..., list[Any]]


def test_an_id_is_52_bits_of_content_and_the_same_in_every_process() -> None:
    # computed once and fixed: another process, another day, the same id
    assert config_id("abuse-guard", '{"fail":"closed"}') == 3890019508948719
    assert config_id("abuse-guard", "{}") != config_id("passport", "{}")
    assert 0 <= config_id("abuse-guard", "{}") < 2**52


@given(st.dictionaries(st.sampled_from(["fail", "deny", "blocks", "allow"]), st.text(max_size=3)))
def test_the_order_of_keys_and_kongs_extra_keys_do_not_matter(raw: dict[str, str]) -> None:
    turned = dict(reversed(raw.items())) | {"__seq__": 7, "route_id": "x"}
    assert config_text("abuse-guard", raw) == config_text("abuse-guard", turned)


def test_equal_configs_share_an_id_and_others_do_not(decider: Decider) -> None:
    one = decider.register("abuse-guard", '{"fail": "closed", "__seq__": 1}')
    same = decider.register("abuse-guard", '{"__seq__": 2, "fail": "closed"}')
    other = decider.register("abuse-guard", '{"fail": "open"}')
    assert one.id == same.id != other.id


def test_an_id_that_another_content_holds_is_refused(
    decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kong_plugins.server.decider.config_id", lambda plugin, text: 1)
    decider.register("abuse-guard", '{"fail": "closed"}')
    with pytest.raises(ConfigError, match="taken by another config"):
        decider.register("abuse-guard", '{"fail": "open"}')


@pytest.mark.parametrize(
    ("plugin", "text", "complaint"),
    [
        ("passport", "{", "not JSON"),
        ("passport", "[]", "not an object"),
        ("passport", "{}", "passport: issuers"),
        ("abuse-guard", '{"deny": ["10.0.0.0/40"]}', "abuse-guard: deny"),
        ("jwt", "{}", "jwt: not a gate plugin"),
    ],
)
def test_a_bad_config_names_plugin_and_field(
    decider: Decider, plugin: str, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        decider.register(plugin, text)


def test_an_unknown_id_says_what_kong_looks_for(decider: Decider) -> None:
    with pytest.raises(UnknownConfig, match="no plugin instance 7"):
        decider.config(7)


def test_a_decision_that_passes_its_deadline_is_no_verdict(
    decider: Decider, facts: Record, caplog: Any
) -> None:
    deadline = Deadline(0.03)
    slow = Decider(lambda: 0.0, deadline)
    slow.state = decider.state

    def endless(*_: Any) -> None:
        while True:
            pass

    slow._chains.put("c", ((endless, None, "passport"),))
    deadline.install()
    try:
        wire = slow.decide_chain("c", facts("r7"))
        assert slow.decide_chain("c", facts("r8"))["e"] == "deadline", "and the next one too"
    finally:
        deadline.uninstall()
    assert (wire["n"], wire["e"]) == ("r7", "deadline")
    assert "request r7: the decision passed its deadline" in caplog.text
    assert [(line.request_id, line.reason) for line in caplog.records] == [
        ("r7", "deadline"),
        ("r8", "deadline"),
    ]


def test_a_filter_that_sleeps_is_stopped_too(decider: Decider, facts: Record) -> None:
    deadline = Deadline(0.02)
    slow = Decider(lambda: 0.0, deadline)
    slow.state = decider.state

    def asleep(*_: Any) -> None:
        time.sleep(30)

    slow._chains.put("c", ((asleep, None, "passport"),))
    deadline.install()
    started = time.monotonic()
    try:
        assert slow.decide_chain("c", facts("r7"))["e"] == "deadline"
    finally:
        deadline.uninstall()
    assert time.monotonic() - started < 15


def test_kept_configs_are_bounded(decider: Decider) -> None:
    small = Decider(lambda: 0.0, limit=2)
    ids = [small.register("abuse-guard", json.dumps({"deny": [f"10.0.0.{n}"]})).id for n in range(3)]
    with pytest.raises(UnknownConfig):
        small.config(ids[0])
    assert small.config(ids[2]).id == ids[2]


def chain_of(*parts: str) -> str:
    return hashlib.md5("".join(f"{part}\0" for part in parts).encode()).hexdigest()


def test_a_chain_is_kept_under_its_own_hash_only(decider: Decider, facts: Record) -> None:
    parts = ["abuse-guard", "{}"]
    assert decider.decide_chain(chain_of(*parts), facts()) == {"e": "config"}
    with pytest.raises(ConfigError, match="their hash is"):
        decider.register_chain(chain_of("abuse-guard", '{"fail":"open"}'), parts)
    decider.register_chain(chain_of(*parts), parts)
    assert decider.decide_chain(chain_of(*parts), facts()) == {
        "v": 1,
        "n": "r1",
        "tn": "food",
        "ch": chain_of(*parts),
    }


def test_a_chain_of_odd_parts_is_refused(decider: Decider) -> None:
    with pytest.raises(ConfigError, match="pairs"):
        decider.register_chain(chain_of("abuse-guard"), ["abuse-guard"])


def test_the_adapter_of_the_version_before_gets_an_answer_of_its_own_version(
    decider: Decider, facts: Record
) -> None:
    known = decider.register("abuse-guard", "{}")
    before = [PROTOCOL - 1, *facts()[1:]]
    assert decider.decide_ids([known.id], before)[1]["v"] == PROTOCOL - 1
    too_old = [PROTOCOL - 2, *facts()[1:]]
    assert decider.decide_ids([known.id], too_old)[1]["e"] == "bad_facts"


def test_without_control_state_there_is_no_verdict(facts: Record) -> None:
    decider = Decider(lambda: 0.0)
    known = decider.register("abuse-guard", "{}")
    verdict, wire = decider.decide_ids([known.id], facts())
    assert verdict is None
    assert wire["e"] == "no_state"


@pytest.mark.parametrize(("record", "reason"), [([], "bad_facts"), ([9] * 13, "bad_facts")])
def test_facts_of_no_adapter_are_no_verdict(decider: Decider, record: list[Any], reason: str) -> None:
    known = decider.register("abuse-guard", "{}")
    assert decider.decide_ids([known.id], record) == (None, {"v": 1, "n": "", "e": reason})


def test_a_filter_that_raises_is_no_verdict(decider: Decider, facts: Record, caplog: Any) -> None:
    known = decider.register("abuse-guard", "{}")
    decider.state = "broken"  # type: ignore[assignment]
    verdict, wire = decider.decide_ids([known.id], facts("r9"))
    assert verdict is None
    assert (wire["n"], wire["e"]) == ("r9", "filter_error")
    assert decider.tally.failures == {"filter_error": 1}
    assert "request r9" in caplog.text


class Leased:
    """The chain of one route, and a verdict that its user gets."""

    def __init__(self, decider: Decider, configs: dict[str, str], record: list[Any]) -> None:
        parts = [text for pair in configs.items() for text in pair]
        self.decider = decider
        self.chain = hashlib.md5("".join(f"{part}\0" for part in parts).encode()).hexdigest()
        decider.register_chain(self.chain, parts)
        found = decider.find_by_chain(self.chain, record)
        assert found is not None
        verdict, facts, _ = found
        assert verdict is not None
        assert facts is not None
        self.verdict, self.facts = verdict, facts

    def lease(self) -> Lease:
        return self.decider.lease(self.chain, self.facts, self.verdict)


@pytest.fixture
def leased(decider: Decider, configs: dict[str, str], facts: Record, token: str) -> Leased:
    return Leased(decider, configs, facts(authorization=f"Bearer {token}"))


def test_a_verdict_has_the_lease_of_its_chain(leased: Leased) -> None:
    assert leased.lease() == Lease(10.0)


def test_a_chain_that_is_not_known_has_no_lease(leased: Leased, caplog: pytest.LogCaptureFixture) -> None:
    leased.chain = "0" * 32
    assert leased.lease() == NONE
    assert caplog.text == ""


def test_without_a_control_state_there_is_no_lease(leased: Leased, caplog: pytest.LogCaptureFixture) -> None:
    leased.decider.state = None
    assert leased.lease() == NONE
    assert caplog.text == ""


def test_while_requests_are_traced_there_is_no_lease(leased: Leased) -> None:
    leased.decider.tracer = object()  # type: ignore[assignment]
    assert leased.lease() == NONE
    leased.decider.tracer = None
    assert leased.lease() == Lease(10.0)


def test_a_lease_that_cannot_be_found_is_none_and_the_log_says_why(
    leased: Leased, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Lease:
        raise RuntimeError("no such list")

    monkeypatch.setattr(chain, "LEASES", {**chain.LEASES, "canary-router": broken})
    assert leased.lease() == NONE
    assert "request r1: no lease" in caplog.text
    assert "no such list" in caplog.text


def test_a_chain_with_a_config_that_cannot_be_used_has_no_lease(decider: Decider, facts: Record) -> None:
    bad = Leased(decider, {"abuse-guard": "{}", "passport": '{"issuers": []}'}, facts())
    assert bad.verdict.reason == "bad_config"
    assert bad.lease() == NONE
    bad.verdict = PASS
    assert bad.lease() == NONE


def test_a_condition_is_asked_with_the_state_and_the_time_of_now(decider: Decider) -> None:
    seen: list[Any] = []

    def holds(state: Any, now: float) -> bool:
        seen.append((state, now))
        return len(seen) < 2

    condition = Condition("b order", holds)
    assert decider.still(condition) is True
    assert decider.still(condition) is False
    assert seen == [(decider.state, NOW)] * 2
    decider.state = None
    assert decider.still(Condition("b order", lambda _state, _now: True)) is False
