"""The pdk lane, message by message: what Kong sends, what it must get back."""

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from kong_plugins.server.decider import Decider
from kong_plugins.server.frames import LATER, Connections
from kong_plugins.server.pdk_lane import PdkLane, PdkProtocol, RpcError, header_map

Record = Callable[..., list[Any]]
NO_IDS = (float("inf"), float("nan"), 1e300, 1.5, 2**64, True, "1")
GATES = ["abuse-guard", "passport", "canary-router", "static-fallback"]


@pytest.fixture
def lane(decider: Decider) -> PdkLane:
    return PdkLane(decider)


def start(lane: PdkLane, configs: dict[str, str], names: list[str] = GATES) -> dict[str, int]:
    """Start an instance of each plugin, as Kong does at a route's first request."""
    started = {}
    for name in names:
        reply = lane.call("plugin.StartInstance", [{"Name": name, "Config": configs[name]}])
        assert reply["Name"] == name
        started[name] = reply["Id"]
    return started


def request(
    lane: PdkLane, ids: dict[str, int], record: list[Any], broken: str = "", known: Any = None
) -> tuple[Any, int]:
    """One request through the route's gate plugins; Kong skips a plugin that fails (`broken`).

    known: the ids that the adapter has seen before.

    Returns what stands in kong.ctx.shared.kgate (or the exit's arguments) and the number of messages.
    """
    shared: Any = {"v": 1, "f": record, "g": list(ids), "ids": []}
    if known is not None:
        shared["k"] = known
    messages = 0
    for name, instance in ids.items():
        if name == broken:
            continue
        event = {"InstanceId": instance, "EventName": "access"}
        reply = lane.call("plugin.HandleEvent", [event])
        messages += 1
        while reply["Data"] != "ret":
            data = reply["Data"]
            step: dict[str, Any] = {"EventId": reply["EventId"]}
            if data["Method"] == "kong.ctx.shared.get":
                step["Data"] = shared
            elif data["Method"] == "kong.ctx.shared.set":
                shared = msgpack.unpackb(msgpack.packb(data["Args"][1]))
            else:
                assert data["Method"] == "kong.response.exit"
                return data["Args"], messages
            reply = lane.call("plugin.Step", [step])
            messages += 1
    return shared, messages


def test_four_plugins_make_one_verdict_with_all_ids(
    lane: PdkLane, configs: dict[str, str], facts: Record, token: str, decider: Decider
) -> None:
    ids = start(lane, configs)
    verdict, messages = request(lane, ids, facts(authorization=f"Bearer {token}"))
    assert verdict["ids"] == list(ids.values())
    assert verdict["n"] == "r1"
    headers = dict(zip(verdict["s"][::2], verdict["s"][1::2], strict=True))
    assert headers["X-Passport"].startswith("eyJ")
    assert headers["X-Canary"] == "v2=canary"
    assert verdict["u"] == "order-v2"
    assert verdict["p"]
    assert messages == 12
    assert decider.tally.decisions == 1, "the chain runs once a request"


def test_known_ids_let_the_first_plugin_decide(
    lane: PdkLane, configs: dict[str, str], facts: Record, token: str, decider: Decider
) -> None:
    ids = start(lane, configs)
    known = [float(instance) for instance in ids.values()]  # as Lua's numbers come back
    record = facts(authorization=f"Bearer {token}")
    slow, _ = request(lane, ids, record)
    fast, messages = request(lane, ids, record, known=known)
    assert fast == slow
    assert messages == 9
    assert decider.tally.decisions == 2
    answer, messages = request(lane, ids, facts(), known=known)
    assert (answer[0], messages) == (401, 2)


@pytest.mark.parametrize("broken", GATES)
def test_known_ids_decide_for_a_plugin_that_kong_skipped(
    lane: PdkLane, configs: dict[str, str], facts: Record, token: str, broken: str
) -> None:
    ids = start(lane, configs)
    record = facts(authorization=f"Bearer {token}")
    verdict, _ = request(lane, ids, record, broken, known=list(ids.values()))
    assert verdict == request(lane, ids, record)[0]
    assert request(lane, ids, facts(), broken, known=list(ids.values()))[0][0] == 401


@pytest.mark.parametrize("known", [[1], [1, 2, 3, 4], [1, 2, 3, 4, 5], {}, [], None])
def test_ids_that_are_not_those_of_the_route_change_nothing(
    lane: PdkLane, configs: dict[str, str], facts: Record, token: str, known: Any
) -> None:
    ids = start(lane, configs)
    record = facts(authorization=f"Bearer {token}")
    assert request(lane, ids, record, known=known) == request(lane, ids, record)


def test_after_a_restart_the_plugins_are_started_before_their_ids_count_again(
    lane: PdkLane, configs: dict[str, str], facts: Record, token: str, decider: Decider
) -> None:
    known = list(start(lane, configs).values())
    elsewhere = Decider(lambda: 1_800_000_000.0)
    elsewhere.state = decider.state
    new = PdkLane(elsewhere)
    ids = start(new, configs, GATES[:1])
    event = {"EventId": ids["abuse-guard"], "Data": {"v": 1, "f": facts(), "g": GATES, "ids": [], "k": known}}
    told = new.call("plugin.Step", [event])["Data"]["Args"][1]
    assert told == {"v": 1, "f": facts(), "g": GATES, "ids": known[:1]}


def test_a_restart_within_a_request_gives_no_verdict_and_no_error(
    lane: PdkLane, configs: dict[str, str], facts: Record
) -> None:
    """As "no plugin instance" it would have Kong start the last plugin again and again: that one does not lack."""
    (last,) = start(lane, configs, ["static-fallback"]).values()
    record = {"v": 1, "f": facts(), "g": ["passport", "static-fallback"], "ids": [4_000_000_000_000_000]}
    told = lane.call("plugin.Step", [{"EventId": last, "Data": record}])["Data"]["Args"][1]
    assert told == {"v": 1, "n": "r1", "e": "other_server"}


def test_a_verdict_of_another_config_of_the_plugin_is_none(
    lane: PdkLane, configs: dict[str, str], facts: Record, token: str
) -> None:
    ids = start(lane, configs)
    verdict, _ = request(lane, ids, facts(authorization=f"Bearer {token}"))
    other = start(lane, {**configs, "static-fallback": '{"fail": "open"}'}, ["static-fallback"])
    event = {"EventId": other["static-fallback"], "Data": verdict}
    told = lane.call("plugin.Step", [event])["Data"]["Args"][1]
    assert told == {"v": 1, "n": "r1", "e": "other_config"}
    event = {"EventId": ids["static-fallback"], "Data": verdict}
    assert lane.call("plugin.Step", [event])["Data"] == "ret"


def test_the_last_plugin_answers_the_client_itself(
    lane: PdkLane, configs: dict[str, str], facts: Record
) -> None:
    ids = start(lane, configs, ["passport"])
    answer, messages = request(lane, ids, facts())
    status, body, headers = answer
    assert status == 401
    assert '"token_missing"' in body
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Kgate-Reason"] == "token_missing"
    assert None not in answer, "a nil among the arguments cuts the rest"
    assert messages == 2


@pytest.mark.parametrize("broken", GATES)
def test_a_plugin_that_fails_leaves_no_verdict_for_the_guard(
    lane: PdkLane, configs: dict[str, str], facts: Record, token: str, broken: str
) -> None:
    record, _ = request(lane, start(lane, configs), facts(authorization=f"Bearer {token}"), broken)
    assert "n" not in record, "no verdict"
    assert len(record["ids"]) < len(GATES)


def test_a_filter_that_raises_leaves_an_error_and_no_verdict(
    lane: PdkLane, configs: dict[str, str], facts: Record, decider: Decider
) -> None:
    ids = start(lane, configs, ["passport"])
    decider.state = "broken"  # type: ignore[assignment]
    record, _ = request(lane, ids, facts(authorization="Bearer a.b.c"))
    assert record == {"v": 1, "n": "r1", "e": "filter_error"}


def test_a_config_that_cannot_be_used_closes_its_own_route_with_an_answer(
    lane: PdkLane, configs: dict[str, str], facts: Record, token: str
) -> None:
    """An error here would look to Kong's worker like a server that is away, and open its breaker for all."""
    bad = {**configs, "abuse-guard": '{"deny": ["bogus"]}'}
    answer, _ = request(
        lane, start(lane, bad, ["abuse-guard", "passport"]), facts(authorization=f"Bearer {token}")
    )
    assert answer[0] == 503
    assert answer[2]["X-Kgate-Reason"] == "bad_config"
    assert "bogus" not in answer[1]
    verdict, _ = request(lane, start(lane, configs, ["passport"]), facts(authorization=f"Bearer {token}"))
    assert verdict["n"] == "r1"


def test_every_message_can_reach_another_process(
    lane: PdkLane, configs: dict[str, str], facts: Record, decider: Decider
) -> None:
    ids = start(lane, configs, ["abuse-guard"])
    elsewhere = Decider(lambda: 0.0)
    elsewhere.state = decider.state
    other = PdkLane(elsewhere)
    assert start(other, configs, ["abuse-guard"]) == ids, "the same content, the same id"
    event = {
        "EventId": float(ids["abuse-guard"]),
        "Data": {"v": 1, "f": facts(), "g": ["abuse-guard"], "ids": []},
    }
    assert other.call("plugin.Step", [event])["Data"]["Method"] == "kong.ctx.shared.set"


def test_closing_an_instance_does_not_take_it_from_another_worker(
    lane: PdkLane, configs: dict[str, str], facts: Record
) -> None:
    ids = start(lane, configs, ["abuse-guard"])
    lane.call("plugin.CloseInstance", [ids["abuse-guard"]])
    verdict, _ = request(lane, ids, facts())
    assert verdict["n"] == "r1"


@pytest.mark.parametrize(
    ("method", "args", "message"),
    [
        ("plugin.HandleEvent", [{"InstanceId": 5, "EventName": "access"}], "no plugin instance 5"),
        ("plugin.HandleEvent", [{"InstanceId": "5", "EventName": "access"}], "no plugin instance '5'"),
        ("plugin.StartInstance", [{"Name": "jwt", "Config": "{}"}], "not a gate plugin"),
        ("plugin.Nothing", [], "unknown method"),
        ("other.HandleEvent", [{}], "unknown method"),
    ],
)
def test_errors_are_texts(lane: PdkLane, method: str, args: list[Any], message: str) -> None:
    with pytest.raises(RpcError, match=message):
        lane.call(method, args)


def test_other_phases_end_at_once(lane: PdkLane, configs: dict[str, str]) -> None:
    ids = start(lane, configs, ["passport"])
    event = {"InstanceId": ids["passport"], "EventName": "log"}
    assert lane.call("plugin.HandleEvent", [event])["Data"] == "ret"


def test_plugin_info_over_rpc(lane: PdkLane) -> None:
    assert lane.call("plugin.GetPluginInfo", ["passport"])["Priority"] == 1904
    assert lane.call("plugin.GetStatus", [])["Plugins"] == GATES


@pytest.mark.parametrize(
    "message",
    [None, 1, [], [0, 1, "plugin.GetStatus"], [2, 1, "plugin.GetStatus", []], [0, 1, 7, []], [0, 1, "m", {}]],
)
def test_what_is_no_call_closes_the_connection(lane: PdkLane, message: Any) -> None:
    assert PdkProtocol(lane, "pdk", Connections(lambda: 0.0)).answer(message) is None


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("plugin.HandleEvent", []),
        ("plugin.HandleEvent", ["text"]),
        ("plugin.Step", [{}]),
        ("plugin.StartInstance", [{"Name": "passport"}]),
        ("plugin.StartInstance", [{"Name": ["x"], "Config": "{}"}]),
        ("plugin.Step", [{"EventId": 1, "Data": {"f": 1}}]),
        ("plugin.CloseInstance", []),
        *(("plugin.HandleEvent", [{"InstanceId": n, "EventName": "access"}]) for n in NO_IDS),
        *(("plugin.Step", [{"EventId": n, "Data": None}]) for n in NO_IDS),
        *(("plugin.Step", [{"EventId": 1, "Data": {"ids": [n]}}]) for n in NO_IDS),
    ],
)
def test_a_malformed_call_gets_an_error_text(lane: PdkLane, method: str, args: list[Any]) -> None:
    reply = PdkProtocol(lane, "pdk", Connections(lambda: 0.0)).answer([0, 9, method, args])
    assert reply is not None
    kind, message_id, error, result = msgpack.unpackb(reply)
    assert (kind, message_id, result) == (1, 9, None)
    assert isinstance(error, str)


def test_bytes_that_are_not_utf8_reach_the_filters(
    lane: PdkLane, configs: dict[str, str], facts: Record
) -> None:
    ids = start(lane, configs, ["passport"])
    record = facts(authorization="Bearer \udcff")
    frame = msgpack.packb([0, 1, "plugin.Step", [{"EventId": ids["passport"], "Data": {
        "v": 1, "f": record, "g": ["passport"], "ids": []}}]], unicode_errors="surrogateescape")  # fmt: skip
    message = msgpack.unpackb(frame, unicode_errors="surrogateescape")
    reply = PdkProtocol(lane, "pdk", Connections(lambda: 0.0)).answer(message)
    assert reply is not None
    assert msgpack.unpackb(reply)[3]["Data"]["Args"][0] == 401


def test_a_start_is_answered_when_all_processes_know_the_config(
    decider: Decider, configs: dict[str, str]
) -> None:
    asked: list[tuple[str, str, Callable[[], None]]] = []
    protocol = PdkProtocol(
        PdkLane(decider, lambda *told: asked.append(told)), "passport", Connections(lambda: 0.0)
    )
    written: list[bytes] = []
    protocol.reply = written.append  # type: ignore[method-assign]
    call = [0, 1, "plugin.StartInstance", [{"Name": "passport", "Config": configs["passport"]}]]
    assert protocol.answer(call) is LATER
    assert asked[0][:2] == ("passport", configs["passport"])
    assert written == []
    asked[0][2]()
    assert msgpack.unpackb(written[0])[3]["Name"] == "passport"
    assert protocol.answer(call) is not LATER, "they know it now"


def test_headers_as_kong_wants_them() -> None:
    assert header_map((("A", "1"), ("B", "2"), ("A", "3"))) == {"A": ["1", "3"], "B": "2"}
