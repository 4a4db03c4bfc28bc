"""Node k of n fails, for every k and every strategy: all nodes end old or new, or what is left is told."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from decl.admin import AdminClient
from decl.apply import NodeResult, Patience, Strategy, push
from decl.apply_db import StoppedError
from decl.render import Rendered
from decl.source import Sources
from tests.decl.admin_stub import AdminStub, Answer, Seen, admin_stub
from tests.decl.faults.deaf import Deaf
from tests.decl.faults.killed import Victim
from tests.decl.faults.runs import push_to

OLD = b'{"_format_version":"3.0","services":[{"name":"old"}]}'
NEW = Rendered("one", {"_format_version": "3.0", "services": [{"name": "a", "id": "x"}]}, {})
QUICK = Patience(busy=20, live=0.3, poll=0.01)
STRATEGIES: list[Strategy] = ["canary", "rolling", "all-at-once"]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(scope="module")
def running() -> Iterator[list[AdminStub]]:
    with ExitStack() as stack:
        yield [stack.enter_context(admin_stub()) for _ in range(3)]


@pytest.fixture
def stubs(running: list[AdminStub]) -> list[AdminStub]:
    for stub in running:
        url, settled = stub.url, stub.settled
        vars(stub).update(vars(AdminStub()))
        stub.url, stub.settled, stub.hash = url, settled, md5(OLD)
    return running


def run(
    stubs: list[AdminStub],
    strategy: Strategy = "rolling",
    timeout: float = 20.0,
    deaf: dict[str, Deaf] | None = None,
    **options: object,
) -> list[NodeResult]:
    """deaf: a node's client in the place of its own."""
    with ExitStack() as stack:
        made = [(deaf or {}).get(stub.url) or AdminClient(stub.url, timeout=timeout) for stub in stubs]
        clients = [stack.enter_context(client) for client in made]
        kept = {md5(OLD): OLD}
        arguments: dict[str, object] = {"last_good": lambda node, held: kept.get(held), **options}
        return list(push(clients, NEW, Sources(()), QUICK, strategy=strategy, **arguments))  # type: ignore[arg-type]


def only_new(answer: Answer) -> object:
    """Misbehave when the new config is pushed; the old one is taken."""
    return lambda seen: answer if seen.body == NEW.content else None


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, {"message": "no"}),
        Answer(500, {"message": "no"}),
        Answer(413, "<html>too large</html>"),
        Answer(500, {"message": "after the commit"}, store=True),
    ],
    ids=["refused", "500", "413", "500 after commit"],
)
def test_the_end_is_old_or_new(
    stubs: list[AdminStub], strategy: Strategy, number: int, answer: Answer
) -> None:
    stubs[number].on_post = only_new(answer)  # type: ignore[assignment]
    results = run(stubs, strategy, sleep=lambda _: None)
    expected = NEW.hash if answer.store else md5(OLD)
    assert [stub.hash for stub in stubs] == [expected] * 3
    states = {result.state for result in results}
    assert states <= ({"changed"} if answer.store else {"returned", "failed", "not tried"})


def test_an_answer_that_comes_too_late(stubs: list[AdminStub]) -> None:
    # all others are to answer in that time on any machine
    stubs[1].on_post = only_new(Answer(201, {}, store=True, delay=4.0))  # type: ignore[assignment]
    assert [result.state for result in run(stubs, timeout=2.0)] == ["changed"] * 3
    assert {stub.hash for stub in stubs} == {NEW.hash}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_a_push_is_never_answered(
    stubs: list[AdminStub], strategy: Strategy, number: int, done: bool
) -> None:
    """The node's hash says whether it was done."""
    deaf = Deaf(stubs[number].url, lambda _, method, path: "hang", done)
    results = run(stubs, strategy, deaf={stubs[number].url: deaf}, sleep=lambda _: None)
    if done:
        assert [result.state for result in results] == ["changed"] * 3
        assert {stub.hash for stub in stubs} == {NEW.hash}
        assert deaf.deaf == 1
        return
    assert deaf.deaf == QUICK.tries
    assert (results[number].state, results[number].reason) == ("failed", "gave no answer within 10 s")
    assert {stub.hash for stub in stubs} == {md5(OLD)}
    others = [result.state for result in results if result is not results[number]]
    reached = {"canary": 1 if number == 0 else 3, "rolling": number + 1, "all-at-once": 3}[strategy]
    assert others == ["returned"] * (reached - 1) + ["not tried"] * (3 - reached)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_a_push_is_never_answered_and_nobody_knows(
    stubs: list[AdminStub], strategy: Strategy, number: int, done: bool
) -> None:
    """Its hash cannot be read either: it gets its old bytes back; as it does not answer to these, it is named."""
    deaf = Deaf(stubs[number].url, lambda _, method, path: "hang", done)

    def away(_: Seen) -> Answer | None:
        return Answer(404, {}) if deaf.deaf else None

    stubs[number].on_status = away
    results = run(stubs, strategy, deaf={stubs[number].url: deaf}, sleep=lambda _: None)
    result = results[number]
    assert result.state == "unknown"
    assert "its old config could not be brought back: gave no answer within 10 s" in result.reason
    assert {stub.hash for stub in stubs} == {md5(OLD)}
    assert "changed" not in {each.state for each in results}


def test_a_node_that_cannot_be_brought_back_is_told(stubs: list[AdminStub]) -> None:
    stubs[0].on_post = lambda seen: Answer(503, {}) if seen.body == OLD else None
    stubs[1].on_post = only_new(Answer(400, {"message": "no"}))  # type: ignore[assignment]
    first, second, third = run(stubs)
    assert first.state == "changed"
    assert "its old config could not be brought back: answered HTTP 503" in first.reason
    assert (second.state, third.state) == ("failed", "not tried")


def test_without_the_old_bytes_it_says_so(stubs: list[AdminStub]) -> None:
    stubs[1].on_post = only_new(Answer(400, {"message": "no"}))  # type: ignore[assignment]
    first = run(stubs, last_good=lambda node, held: None)[0]
    assert (first.state, stubs[0].hash) == ("changed", NEW.hash)
    assert first.reason.endswith("its old config is not known and was not brought back")


@pytest.mark.parametrize(
    ("strategy", "asked"), [("canary", [1, 2]), ("rolling", [1, 1, 1]), ("all-at-once", [3])]
)
def test_waves(stubs: list[AdminStub], strategy: Strategy, asked: list[int]) -> None:
    seen: list[int] = []

    def gate(nodes: list[str]) -> None:
        seen.append(len(nodes))

    run(stubs, strategy, gate=gate)
    assert seen == asked


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_gate_that_fails_brings_the_old_bytes_back(stubs: list[AdminStub], strategy: Strategy) -> None:
    results = run(stubs, strategy, gate=lambda nodes: "the shop answers 502")
    assert {stub.hash for stub in stubs} == {md5(OLD)}
    touched = {"canary": 1, "rolling": 1, "all-at-once": 3}[strategy]
    assert [result.state for result in results] == ["returned"] * touched + ["not tried"] * (3 - touched)
    assert all(result.reason == "the shop answers 502" for result in results)
    for stub in stubs[:touched]:
        assert stub.posts[-1].body == OLD


def test_an_empty_node_is_emptied_again(stubs: list[AdminStub]) -> None:
    stubs[0].hash = "0" * 32
    run(stubs, gate=lambda nodes: "bad")
    assert stubs[0].posts[-1].body == b'{"_format_version":"3.0"}'


def test_a_lost_lock_stops_between_waves(stubs: list[AdminStub]) -> None:
    asked = [0]

    def check() -> None:
        asked[0] += 1
        if asked[0] == 2:
            raise StoppedError("the lock was lost")

    results = run(stubs, check=check)
    assert [result.state for result in results] == ["returned", "not tried", "not tried"]
    assert {stub.hash for stub in stubs} == {md5(OLD)}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_client_is_killed(stubs: list[AdminStub], strategy: Strategy, number: int, stored: bool) -> None:
    """While it posts to a node, which takes the config or not. Each node has the old bytes or the new ones, and the
    next run posts to those only that lack them."""
    victim = Victim(push_to, [stub.url for stub in stubs], NEW, strategy)

    def die(_: Seen) -> Answer:
        victim.kill()
        return Answer(500, {"message": "nobody hears it"}, store=stored)

    stubs[number].on_post = die
    victim.start()
    assert victim.end() == -signal.SIGKILL
    for stub in stubs:
        stub.settled()
    left = [stub for stub in stubs if stub.hash != NEW.hash]
    assert all(stub.hash == md5(OLD) for stub in left)
    assert (stubs[number] in left) != stored
    if strategy == "rolling":
        assert len(left) == 3 - number - stored
    stubs[number].on_post = lambda _: None
    states = [result.state for result in run(stubs, strategy)]
    assert states == ["changed" if stub in left else "unchanged" for stub in stubs]
    assert {stub.hash for stub in stubs} == {NEW.hash}


def test_a_busy_node_is_waited_for(stubs: list[AdminStub]) -> None:
    busy = [2]

    def answer(seen: Seen) -> Answer | None:
        busy[0] -= 1
        return Answer(429, {}, (("Retry-After", "0"),)) if busy[0] >= 0 else None

    stubs[0].on_post = answer
    assert [result.state for result in run(stubs)] == ["changed"] * 3


def test_413_of_nginx_and_of_kong_are_told_apart(stubs: list[AdminStub]) -> None:
    stubs[0].on_post = lambda _: Answer(413, "<html>413</html>")
    assert "body limit" in run(stubs)[0].reason
    stubs[0].on_post = lambda _: Answer(413, {"message": "map full"})
    assert "lmdb_map_size" in run(stubs)[0].reason
