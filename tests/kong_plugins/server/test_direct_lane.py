"""The pdk lane as today's adapter speaks it, message by message."""

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from kong_plugins.server.decided import Decided, Later
from kong_plugins.server.decider import Decider
from kong_plugins.server.direct_lane import DirectLane
from kong_plugins.server.frames import LATER, Connections
from kong_plugins.server.pdk_lane import PdkProtocol, RpcError

Record = Callable[..., list[Any]]
GATES = ["abuse-guard", "passport", "canary-router", "static-fallback"]


@pytest.fixture
def lane(decider: Decider) -> DirectLane:
    return DirectLane(decider)


def start(lane: DirectLane, configs: dict[str, str], names: list[str] = GATES) -> list[int]:
    return [
        lane.call("plugin.StartInstance", [{"Name": name, "Config": configs[name]}])["Id"] for name in names
    ]


def step(lane: DirectLane, instance: int, data: Any) -> Any:
    return lane.call("plugin.Step", [{"EventId": instance, "Data": data}])["Data"]


def verdict_of(data: dict[str, Any]) -> Any:
    assert data["Method"] == "kong.kgate.verdict"
    (packed,) = data["Args"]
    assert isinstance(packed, bytes)
    return msgpack.unpackb(packed, unicode_errors="surrogateescape")


def test_an_event_begins_with_a_call_that_names_its_config(lane: DirectLane, configs: dict[str, str]) -> None:
    for instance in start(lane, configs):
        reply = lane.call("plugin.HandleEvent", [{"InstanceId": float(instance), "EventName": "access"}])
        assert reply == {"EventId": instance, "Data": {"Method": "kong.kgate.step", "Args": [instance]}}
    assert lane.call("plugin.HandleEvent", [{"InstanceId": instance, "EventName": "log"}])["Data"] == "ret"


def test_one_step_brings_the_verdict_of_all(
    lane: DirectLane, configs: dict[str, str], facts: Record, token: str, decider: Decider
) -> None:
    ids = start(lane, configs)
    record = facts(authorization=f"Bearer {token}")
    # whichever plugin it is that asks; ids come back from Lua as floats
    told = [verdict_of(step(lane, instance, [record, [float(each) for each in ids]])) for instance in ids]
    assert told[0] == told[-1]
    assert decider.tally.decisions == 4
    headers = dict(zip(told[0]["s"][::2], told[0]["s"][1::2], strict=True))
    assert headers["X-Passport"].startswith("eyJ")
    assert (told[0]["n"], told[0]["u"]) == ("r1", "order-v2")
    assert list(told[0])[-1] == "n", "what differs from verdict to verdict is last"


def test_an_answer_to_the_client_is_a_verdict_too(
    lane: DirectLane, configs: dict[str, str], facts: Record
) -> None:
    ids = start(lane, configs)
    told = verdict_of(step(lane, ids[0], [facts(), ids]))
    assert (told["st"], told["rs"]) == (401, "token_missing")


def test_bytes_that_are_no_text_reach_the_filters(
    lane: DirectLane, configs: dict[str, str], facts: Record
) -> None:
    ids = start(lane, configs, ["passport"])
    told = verdict_of(step(lane, ids[0], [facts(authorization="Bearer \udcff"), ids]))
    assert (told["st"], told["rs"]) == (401, "token_malformed")


def test_without_an_adapter_a_gate_route_is_closed(lane: DirectLane, configs: dict[str, str]) -> None:
    (instance,) = start(lane, configs, ["passport"])
    for told in (step(lane, instance, None), lane.call("plugin.Step", [{"EventId": instance}])["Data"]):
        assert told["Method"] == "kong.response.exit"
        status, body, headers = told["Args"]
        assert (status, json.loads(body)["reason"]) == (503, "unguarded")
        assert headers["Content-Type"] == "application/problem+json"


def test_ids_of_a_server_before_are_asked_for_again(
    lane: DirectLane, configs: dict[str, str], facts: Record
) -> None:
    (known,) = start(lane, configs, ["passport"])
    told = verdict_of(step(lane, known, [facts(), [known, 4_000_000_000_000_000]]))
    assert told == {"v": 1, "n": "r1", "e": "ids"}


def test_an_own_id_that_is_not_known_has_kong_start_the_plugin(lane: DirectLane, facts: Record) -> None:
    for call in (("plugin.HandleEvent", {"InstanceId": 7, "EventName": "access"}),
                 ("plugin.Step", {"EventId": 7, "Data": [facts(), [7]]})):  # fmt: skip
        with pytest.raises(RpcError, match="no plugin instance 7"):
            lane.call(call[0], [call[1]])


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"f": []},
        [],
        [[]],
        [[], [], []],
        "text",
        7,
        [[], 7],
        [7, []],
        [[], []],
        [["x"] * 13, ["1"]],
        [None, None],
    ],
)
def test_a_step_of_another_form_gives_an_error_or_no_verdict(
    lane: DirectLane, configs: dict[str, str], data: Any
) -> None:
    (instance,) = start(lane, configs, ["passport"])
    protocol = PdkProtocol(lane, "passport-direct", Connections(lambda: 0.0))
    message = [0, 1, "plugin.Step", [{"EventId": instance, "Data": data}]]
    reply = protocol.answer(message)
    assert reply is not None
    _, _, error, result = msgpack.unpackb(reply)
    if error is None:
        assert "e" in verdict_of(result["Data"])
    else:
        assert isinstance(error, str)
        assert "no plugin instance" not in error


def test_a_verdict_that_comes_later(
    lane: DirectLane, configs: dict[str, str], facts: Record, decider: Decider
) -> None:
    ids = start(lane, configs, ["passport"])
    waiting: list[Callable[[Decided], None]] = []

    def later(_ids: list[int], _record: list[Any]) -> Decided:
        raise Later(waiting.append)

    decider.decide_ids = later  # type: ignore[method-assign, assignment]
    protocol = PdkProtocol(lane, "passport-direct", Connections(lambda: 0.0))
    sent: list[bytes] = []
    protocol.reply = sent.append  # type: ignore[method-assign]
    step_message = [0, 9, "plugin.Step", [{"EventId": ids[0], "Data": [facts(), ids]}]]
    assert protocol.answer(step_message) is LATER
    waiting[0]((None, {"v": 1, "n": "r1", "e": "no_state"}))
    kind, number, error, result = msgpack.unpackb(sent[0])
    assert (kind, number, error, result["EventId"]) == (1, 9, None, ids[0])
    assert verdict_of(result["Data"]) == {"v": 1, "n": "r1", "e": "no_state"}
