"""The express lane: one message each way, configs under their hash."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from kong_plugins.engine.outcome import Outcome
from kong_plugins.engine.verdict import Verdict, to_wire
from kong_plugins.passport.core import LASTS_FROM
from kong_plugins.server.columns import batch_of, read_batch
from kong_plugins.server.decided import Decided, Later
from kong_plugins.server.decider import Decider
from kong_plugins.server.express_lane import ExpressLane, ExpressProtocol, frame
from kong_plugins.server.frames import OWED, Connections
from kong_plugins.server.leases import Leases
from kong_plugins.server.outcomes import Outcomes
from kong_plugins.server.told import numbered_frame

Record = Callable[..., list[Any]]


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes()


@pytest.fixture
def lane(decider: Decider, outcomes: Outcomes) -> ExpressLane:
    return ExpressLane(decider, outcomes.take)


def parts_of(configs: dict[str, str]) -> tuple[str, list[str]]:
    parts = [text for pair in configs.items() for text in pair]
    return hashlib.md5("".join(f"{part}\0" for part in parts).encode()).hexdigest(), parts


def answers_to(lane: ExpressLane, questions: list[list[Any]]) -> list[Any]:
    """What is written, in one go, for questions that come together."""
    written: list[bytes] = []

    class Transport:
        write = staticmethod(written.append)
        is_closing = staticmethod(lambda: False)

    protocol = ExpressProtocol(lane, "express", Connections(lambda: 0.0))
    protocol.transport = Transport()  # type: ignore[assignment]
    protocol.data_received(b"".join(msgpack.packb(question) for question in questions))
    assert len(written) == 1
    return split(written[0])


def split(data: bytes) -> list[Any]:
    answers = []
    while data:
        size = int.from_bytes(data[:4], "big")
        answers.append(msgpack.unpackb(data[4 : 4 + size], unicode_errors="surrogateescape"))
        data = data[4 + size :]
    return answers


def test_configs_travel_once_and_then_the_hash_is_enough(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str
) -> None:
    chain, parts = parts_of(configs)
    record = facts(authorization=f"Bearer {token}")
    assert lane.handle(["d", chain, record]) == {"e": "config"}
    first = lane.handle(["d", chain, record, parts])
    second = lane.handle(["d", chain, record])
    assert first is not None
    assert first == second
    assert (first["ch"], first["n"], first["u"]) == (chain, "r1", "order-v2")
    assert {"X-Passport", "X-Canary"} <= set(first["s"][::2])
    assert list(first)[-1] == "n", "what differs in each answer stands last"


def test_a_blocked_address_is_answered_by_the_gateway(
    lane: ExpressLane, configs: dict[str, str], facts: Record
) -> None:
    chain, parts = parts_of(configs)
    wire = lane.handle(["d", chain, facts(ip="203.0.113.66"), parts])
    assert wire is not None
    assert (wire["st"], wire["rs"]) == (403, "ip_blocked")
    assert "s" not in wire


def test_prepared_answers_are_fetched_by_hash(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str
) -> None:
    chain, parts = parts_of(configs)
    wire = lane.handle(["d", chain, facts(authorization=f"Bearer {token}"), parts])
    assert wire is not None
    plan = lane.handle(["p", wire["p"]])
    assert plan is not None
    assert plan["k"] == wire["p"]
    assert plan["r"][0]["on"] == ["502", "refused"]
    assert plan["r"][0]["nm"] == "empty"
    assert lane.handle(["p", "0" * 32]) == {"e": "unknown"}


def test_prepared_answers_are_there_in_a_process_that_has_not_decided(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str
) -> None:
    chain, parts = parts_of(configs)
    wire = lane.handle(["d", chain, facts(authorization=f"Bearer {token}"), parts])
    assert wire is not None
    other = ExpressLane(Decider(lambda: 0.0), lambda *batch: None)
    asked = ["p", wire["p"], "static-fallback", configs["static-fallback"]]
    assert other.handle(asked[:2]) == {"e": "unknown"}
    assert other.handle([*asked[:3], "{no json"]) == {"e": "unknown"}
    assert other.handle([*asked[:3], '{"responses": []}']) == {"e": "unknown"}, "a config with other answers"
    assert other.handle(asked) == lane.handle(["p", wire["p"]])


def test_outcomes_are_taken_once(lane: ExpressLane, outcomes: Outcomes) -> None:
    row = ["r1"] + [""] * 12
    assert lane.handle(["o", "w-1", 2, [row]]) == {"k": "ok"}
    assert lane.handle(["o", "w-1", 2, [row]]) == {"k": "ok"}
    assert (outcomes.rows, outcomes.dropped) == (1, 2)


def test_adapters_of_before_send_rows_with_an_id_at_their_end_or_at_their_beginning(
    decider: Decider,
) -> None:
    seen: list[Outcome] = []
    told: list[list[Any]] = []

    def take(_id: str, _dropped: int, packed: bytes, named: list[Any]) -> None:
        seen.extend(read_batch(packed).outcomes())
        told.append(named)

    lane = ExpressLane(decider, take)
    fields = [str(number) for number in range(12)]
    assert lane.handle(["r", "w-1", 0, msgpack.packb([*fields, "r1"]), ["w-0", 3]]) == {"k": "ok"}
    assert lane.handle(["o", "w-2", 0, [["r1", *fields]]]) == {"k": "ok"}
    assert lane.handle(["c", "w-3", 0, batch_of([["", *fields]]).pack(), ["w-1", 1]]) == {"k": "ok"}
    assert seen == [Outcome(*fields)] * 3
    assert told == [["w-0", 3], [], ["w-1", 1]]


@pytest.mark.parametrize("operation", ["m", "M"])
def test_numbered_questions_are_answered_in_one_go_and_by_their_numbers(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str, operation: str
) -> None:
    chain, parts = parts_of(configs)
    record = facts(authorization=f"Bearer {token}")
    lane.handle(["d", chain, record, parts])
    asked = [(chain, 7), ("0" * 32, 8), (chain, 4_000_000_000)]
    answers = answers_to(lane, [[operation, hashed, record, number] for hashed, number in asked])
    assert [answer["q"] for answer in answers] == [7, 8, 4_000_000_000]
    assert [list(answer)[-1] for answer in answers] == ["q"] * 3, "what differs stands last"
    assert answers[1] == {"e": "config", "q": 8}
    assert answers[0]["u"] == "order-v2"


def test_a_numbered_question_may_bring_the_configs_that_this_process_does_not_know(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str
) -> None:
    """Another process may know them: what comes by another connection would never reach this one."""
    chain, parts = parts_of(configs)
    record = facts(authorization=f"Bearer {token}")
    asked = [["M", chain, record, 7], ["M", chain, record, 8, parts], ["M", chain, record, 9]]
    unknown, first, next_one = answers_to(lane, asked)
    assert unknown == {"e": "config", "q": 7}
    assert [(found["u"], found["q"]) for found in (first, next_one)] == [("order-v2", 8), ("order-v2", 9)]


@pytest.mark.parametrize("parts", [["passport", "{}"], ["passport"], 5, []])
def test_configs_that_are_not_the_chain_s_are_refused_and_the_question_answered(
    lane: ExpressLane, facts: Record, parts: object
) -> None:
    (answer,) = answers_to(lane, [["M", "0" * 32, facts(), 7, parts]])
    assert answer in ({"e": "bad_config", "q": 7}, {"e": "malformed", "q": 7})


def test_a_verdict_with_every_field_is_a_small_map() -> None:
    """Its head is one byte, which `numbered_frame` writes itself."""
    full = Verdict(403, "{}", (("A", "1"),), (("B", "2"),), "u", "p", "m", "r", "a", None, "passport", 3)
    wire = {**to_wire(full, "r1", "order"), "ch": "0" * 32}
    assert {"v", "n", "tn", "st", "b", "h", "s", "u", "p", "m", "rs", "a", "rt", "ch"} == set(wire)
    assert split(numbered_frame(dict(wire), 5)) == [{**wire, "q": 5}]


@pytest.mark.parametrize("operation", ["i", "I"])
def test_a_chain_may_be_named_by_the_ids_of_its_configs(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str, decider: Decider, operation: str
) -> None:
    ids = [decider.register(name, text).id for name, text in configs.items()]
    record = facts(authorization=f"Bearer {token}")
    refused, passed = answers_to(
        lane, [[operation, ids, facts(), 7], [operation, [float(each) for each in ids], record, 8]]
    )
    assert (refused["st"], refused["rs"], refused["q"]) == (401, "token_missing", 7)
    assert (passed["n"], passed["u"], passed["q"]) == ("r1", "order-v2", 8)
    assert {"X-Passport", "X-Canary"} <= set(passed["s"][::2])
    assert list(passed)[-1] == "q"
    assert decider.tally.decisions == 2


def test_a_verdict_of_one_passport_is_sent_once_on_a_connection(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str, decider: Decider
) -> None:
    chain, parts = parts_of(configs)
    record = facts(authorization=f"Bearer {token}")
    ids = [decider.register(name, text).id for name, text in configs.items()]
    for _ in range(LASTS_FROM - 1):
        lane.handle(["d", chain, record, parts])

    def named(number: int) -> list[Any]:
        return [record[0], f"{number:032x}", *record[2:]]

    questions = [["M", chain, named(1), 1], ["M", chain, named(2), 2], ["I", ids, named(3), 3]]
    questions += [["I", ids, named(4), 4], ["m", chain, named(5), 5], ["i", ids, named(6), 6]]
    answers = answers_to(lane, questions)
    assert [answer.get("d") for answer in answers] == [0, None, 1, None, None, None]
    assert [answer.get("r") for answer in answers] == [None, 0, None, 1, None, None]
    assert [answer["n"] for answer in answers] == [f"{number:032x}" for number in range(1, 7)]
    full = [answer for answer in answers if "r" not in answer]
    assert [answer["s"] for answer in full] == [full[0]["s"]] * 4
    again = answers_to(lane, questions[1:2])
    assert again[0]["s"] == full[0]["s"], "another connection was told nothing"


def test_an_id_that_is_not_known_is_asked_for_again(
    lane: ExpressLane, configs: dict[str, str], facts: Record, decider: Decider
) -> None:
    known = decider.register("passport", configs["passport"]).id
    questions = [["i", [known, 4_000_000_000_000_000], facts(), 1], ["i", [7], facts(), 2]]
    assert answers_to(lane, questions) == [{"v": 1, "n": "r1", "e": "ids", "q": number} for number in (1, 2)]


@pytest.mark.parametrize("question", [["m", "x" * 32], ["M", "x" * 32], ["i", [5]], ["I", [5]]])
def test_a_verdict_that_comes_later_is_an_answer_to_its_question(
    lane: ExpressLane, facts: Record, decider: Decider, question: list[Any]
) -> None:
    waiting: list[Callable[[Decided], None]] = []

    def later(_chain: Any, _record: list[Any]) -> Decided:
        raise Later(waiting.append)

    decider.find_by_ids = decider.find_by_chain = later  # type: ignore[method-assign, assignment]
    protocol = ExpressProtocol(lane, "express", Connections(lambda: 0.0))
    sent: list[bytes] = []
    protocol.pay = lambda answer, _since: sent.append(answer)  # type: ignore[method-assign]
    assert protocol.answer([*question, facts(), 9]) is OWED
    waiting[0]((None, {"v": 1, "n": "r1", "e": "no_state"}))
    (told,) = split(sent[0])
    assert (told["e"], told["q"], "ch" in told) == ("no_state", 9, question[0] in "mM")


def test_after_standing_still_questions_are_answered(
    lane: ExpressLane, configs: dict[str, str], facts: Record
) -> None:
    """Whoever gave up has closed the connection, or knows answers by their numbers: a late one harms nobody."""
    now = [10.0]
    written: list[bytes] = []
    closed: list[bool] = []

    class Transport:
        write = staticmethod(written.append)
        is_closing = staticmethod(lambda: False)
        close = staticmethod(lambda: closed.append(True))
        get_write_buffer_size = staticmethod(lambda: 0)

    home = Connections(lambda: now[0])
    protocol = ExpressProtocol(lane, "express", home)
    protocol.transport = Transport()  # type: ignore[assignment]
    now[0] += 0.4
    protocol.data_received(msgpack.packb(["m", "0" * 32, facts(), 1]))
    protocol.close_if_stale(True)
    assert home.stall.count == 1
    assert (len(written), closed) == (1, [])


def test_batches_that_were_given_up_are_named(decider: Decider) -> None:
    taken: list[tuple[Any, ...]] = []
    lane = ExpressLane(decider, lambda *batch: taken.append(batch))
    assert lane.handle(["c", "w-1", 0, b""]) == {"k": "ok"}
    assert lane.handle(["c", "w-3", 5, b"", ["w-2", 4]]) == {"k": "ok"}
    assert taken == [("w-1", 0, b"", []), ("w-3", 5, b"", ["w-2", 4])]
    for bad in (None, "w-2", ["w-2"], ["w-2", "4"], [2, 4], ["w-2", 4, "w-1"], ["w-2", True]):
        assert lane.handle(["c", "w-4", 5, b"", bad]) == {"e": "malformed"}
    assert len(taken) == 2


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_a_config_that_cannot_be_used_closes_its_route_with_a_reason(
    lane: ExpressLane, facts: Record, caplog: pytest.LogCaptureFixture, fail: str
) -> None:
    """A verdict, as in the pdk lane: without one `fail: open` would let everybody pass, and each request would
    bring the configs again and a line in the log."""
    chain, parts = parts_of(
        {"abuse-guard": "{}", "passport": json.dumps({"fail": fail, "issuers": [["main"]]})}
    )
    answer = lane.handle(["d", chain, facts(), parts])
    assert isinstance(answer, dict)
    assert (answer["n"], answer["st"], answer["rs"], answer["ch"]) == ("r1", 503, "bad_config", chain)
    assert lane.handle(["d", chain, facts()]) == answer, "the hash is enough from then on"
    assert caplog.text.count("is not the name of an issuer") == 1


def test_what_is_no_chain_is_no_verdict(lane: ExpressLane, facts: Record) -> None:
    _, parts = parts_of({"passport": "{}"})
    assert lane.handle(["d", "0" * 32, facts(), parts]) == {"e": "bad_config"}
    chain, parts = parts_of({"jwt": "{}"})
    assert lane.handle(["d", chain, facts(), parts]) == {"e": "bad_config"}


@pytest.mark.parametrize(
    "message",
    [
        None,
        1,
        "d",
        [],
        [1],
        {"d": 1},
        ["m", "x", [], "7"],
        ["m", "x", [], True],
        ["m", "x", [], -1],
        ["i", [1], [], 2**32],
        ["M", "x", [], None],
        ["I", [1], [], 2**32],
    ],
)
def test_what_is_no_request_closes_the_connection(lane: ExpressLane, message: Any) -> None:
    assert ExpressProtocol(lane, "express", Connections(lambda: 0.0)).answer(message) is None


@pytest.mark.parametrize(
    "message",
    [
        ["d"],
        ["d", 1, []],
        ["d", "x", None],
        ["p"],
        ["o", "b"],
        ["o", "b", 0, 5],
        ["o", [], 0, []],
        ["r", "b", 0, 5],
        ["r", "b", 0],
        ["r", "b", 0, []],
        ["c", "b", 0, 5],
        ["c", "b", 0],
        ["c", "b", 0, []],
        ["r", 5, 0, b""],
        ["m", "x"],
        ["m", 1, [], 1],
        ["m", "x", None, 1],
        ["M", "x"],
        ["M", 1, [], 1],
        ["M", "x", None, 1],
        ["I", [], ["x"] * 13, 1],
        ["I", ["1"], ["x"] * 13, 1],
        ["i", [1]],
        ["i", [1], None, 1],
        ["i", [], ["x"] * 13, 1],
        ["i", 5, ["x"] * 13, 1],
        ["i", ["1"], ["x"] * 13, 1],
        ["i", [True], ["x"] * 13, 1],
        ["i", [2**60], ["x"] * 13, 1],
        ["i", [None], ["x"] * 13, 1],
        ["i", [1], [], 1],
        ["zzz"],
        ["p", []],
    ],
)
def test_a_malformed_request_gets_an_error(lane: ExpressLane, message: Any) -> None:
    reply = lane.handle(message)
    assert reply is not None
    assert "e" in reply


def test_a_frame_says_its_length_first() -> None:
    data = frame({"k": "\udcff"})
    assert int(data[:8], 16) == len(data) - 8
    assert msgpack.unpackb(data[8:], unicode_errors="surrogateescape") == {"k": "\udcff"}


class Line:
    """A connection with leases, and what is written to it."""

    def __init__(self, lane: ExpressLane, decider: Decider, now: list[float]) -> None:
        self.written: list[bytes] = []
        self.closing = False
        self.waiting: list[Callable[[], None]] = []

        class Transport:
            write = staticmethod(self.written.append)
            is_closing = staticmethod(lambda: self.closing)

        self.leases = Leases(
            decider.lease,
            decider.still,
            lambda: 1,
            lambda _seconds, call: self.waiting.append(call),
            clock=lambda: now[0],
        )
        self.protocol = ExpressProtocol(lane, "express", Connections(lambda: 0.0), self.leases)
        self.protocol.transport = Transport()  # type: ignore[assignment]

    def ask(self, *questions: list[Any]) -> bytes:
        self.written.clear()
        self.protocol.data_received(b"".join(msgpack.packb(question) for question in questions))
        (found,) = self.written
        return found


def numbered(record: list[Any], number: int) -> list[Any]:
    return [record[0], f"{number:032x}", *record[2:]]


def test_a_lease_is_written_as_the_protocol_says(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str, decider: Decider
) -> None:
    chain, parts = parts_of(configs)
    record = facts(authorization=f"Bearer {token}")
    now = [50.0]
    line = Line(lane, decider, now)
    line.leases.epoch = 0xABCDEF01
    beat = bytes.fromhex("0000000f82a162ceabcdef01a171ce00000000")
    lane.handle(["d", chain, record, parts])
    for number in range(2, LASTS_FROM):
        (found,) = split(line.ask(["M", chain, numbered(record, number), 1]))
        assert not {"l", "d", "b"} & found.keys()
    told = line.ask(["M", chain, numbered(record, 9), 70_000])
    assert told[: len(beat)] == beat
    (_, found) = split(told)
    assert found["l"] == [10_000, 0xABCDEF01]
    assert (found["d"], found["u"], list(found)[-2:]) == (0, "order-v2", ["n", "q"])
    short = line.ask(["M", chain, numbered(record, 10), 70_001])
    assert short == bytes.fromhex("00000033 83 a172 ce00000000 a16e d920") + b"%032x" % 10 + bytes.fromhex(
        "a171 ce00011171"
    )
    line.leases.change()
    assert line.written[-1] == beat[:11] + b"\x02" + beat[12:]
    again = line.ask(["M", chain, numbered(record, 11), 70_002])
    assert split(again) == [
        {"b": 0xABCDEF02, "q": 0},
        {"r": 0, "l": [10_000, 0xABCDEF02], "n": f"{11:032x}", "q": 70_002},
    ]
    (call,) = line.waiting
    call()
    assert line.written[-1] == beat[:11] + b"\x02" + beat[12:]


@pytest.mark.parametrize("operation", ["I", "i", "m", "d"])
def test_questions_of_other_kinds_get_no_lease(
    lane: ExpressLane, configs: dict[str, str], facts: Record, token: str, decider: Decider, operation: str
) -> None:
    chain, parts = parts_of(configs)
    record = facts(authorization=f"Bearer {token}")
    ids = [decider.register(name, text).id for name, text in configs.items()]
    lane.handle(["d", chain, record, parts])
    line = Line(lane, decider, [50.0])
    for number in range(LASTS_FROM + 3):
        where = ids if operation in "Ii" else chain
        question = [operation, where, numbered(record, number), number]
        written = line.ask(question[: 3 if operation == "d" else 4])
        (found,) = [msgpack.unpackb(written[8:])] if operation == "d" else split(written)
        assert not {"l", "b"} & found.keys()
    assert line.waiting == []


def test_a_connection_that_ends_hears_nothing(lane: ExpressLane, decider: Decider) -> None:
    line = Line(lane, decider, [50.0])
    assert line.protocol.beat(b"x") is True
    assert line.written == [b"x"]
    line.closing = True
    assert line.protocol.beat(b"y") is False
    line.protocol.transport = None
    assert line.protocol.beat(b"z") is False
    assert line.written == [b"x"]
