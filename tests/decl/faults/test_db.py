"""Operation k of n fails, for every k: the end state is the old or the new one, or what is left is listed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from decl.admin import AdminClient
from decl.apply_db import Applied, StoppedError, apply
from decl.change import Diff
from decl.live import schemas_of
from decl.retry import Sender
from tests.decl.db_node import DbNode, FaultProxy, db_node, fault_proxy
from tests.decl.faults.deaf import Deaf
from tests.decl.faults.killed import Victim
from tests.decl.faults.runs import NEW, OLD, QUICK, apply_all, apply_at, changes


class Case:
    """The database holds OLD; `changes` lead to NEW."""

    def __init__(self, client: AdminClient, proxy: FaultProxy, node: DbNode) -> None:
        self.client, self.proxy, self.node = client, proxy, node
        self.schemas = schemas_of(client)
        assert self.run(changes(client, OLD)).outcome == "changed"
        assert changes(client, OLD).changes == ()
        self.old, self._store = node.state(), node.store
        self.changes = changes(client, NEW)
        assert self.run().done == OPERATIONS
        assert changes(client, NEW).changes == ()
        self.new = node.state()
        self.begin()

    def begin(self, fault: Callable[[int, str, str], str | None] = lambda *_: None) -> None:
        """OLD again, with a fault to come."""
        self.node.store = self._store
        self.proxy.begin(fault)

    def run(
        self,
        found: Diff | None = None,
        workers: int = 1,
        client: AdminClient | None = None,
        **options: Any,
    ) -> Applied:
        sender = Sender(client or self.client, QUICK, sleep=lambda _: None)
        found = found or self.changes
        return apply(found.changes, sender, self.schemas, workers=workers, **options)


@pytest.fixture(scope="module")
def built() -> Iterator[Case]:
    with db_node() as node, fault_proxy(node.admin) as proxy, AdminClient(proxy.url) as client:
        yield Case(client, proxy, node)


@pytest.fixture
def case(built: Case) -> Case:
    built.begin()
    return built


@pytest.fixture
def hasty(built: Case) -> Iterator[AdminClient]:
    """A client that does not wait for what hangs."""
    with AdminClient(built.proxy.url, timeout=0.4) as client:
        yield client


OPERATIONS = 15


def always(number: int, fault: str) -> Callable[[int, str, str], str | None]:
    """The fault at write `number`, and at the same write when it is sent again."""
    seen: list[tuple[str, str]] = []

    def choose(count: int, method: str, path: str) -> str | None:
        if count == number:
            seen.append((method, path))
        return fault if (method, path) in seen else None

    return choose


@pytest.mark.parametrize("fault", ["refuse", "500", "reset", "lost"])
def test_one_fails_for_good(case: Case, fault: str) -> None:
    for number in range(1, OPERATIONS + 1):
        case.begin(always(number, fault))
        applied = case.run()
        if applied.outcome == "changed":  # it had been done, and sending it again found that
            assert fault == "lost"
            assert case.node.state() == case.new
            continue
        assert applied.reason
        if applied.outcome == "partial":
            # its inverse is the same request as the one that never works: it is named
            assert applied.failed is not None
            assert [item.change.id for item in applied.left] == [applied.failed.id]
            continue
        assert applied.outcome == "rolled back" or (number == 1 and applied.outcome == "unchanged")
        assert case.node.state() == case.old, (number, fault)


@pytest.mark.parametrize("fault", ["500", "reset", "hang", "lost", "busy"])
def test_one_fails_once(case: Case, hasty: AdminClient, fault: str) -> None:
    for number in range(1, OPERATIONS + 1):
        case.begin(lambda count, *_, number=number: fault if count == number else None)
        client = hasty if fault == "hang" else case.client
        assert case.run(client=client).outcome == "changed", (number, fault)
        assert case.node.state() == case.new


def is_old_or_told(case: Case, applied: Applied) -> None:
    """All is as before; or all but the one that failed, which is named."""
    assert applied.failed is not None
    assert "no answer within" in applied.reason
    state = case.node.state()
    if applied.outcome == "partial":
        # its inverse is the same request as the one that is never answered
        failed = applied.failed
        assert [(item.change.id, item.reason) for item in applied.left] == [(failed.id, applied.reason)]
        assert failed.action == "update"
        state[failed.kind][failed.id] = case.old[failed.kind][failed.id]
    else:
        assert applied.outcome == "rolled back"
    assert state == case.old


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_one_is_never_answered(case: Case, done: bool) -> None:
    """Not on the retry either."""
    outcomes = []
    for number in range(1, OPERATIONS + 1):
        case.begin()
        choose = always(number, "hang")
        with Deaf(case.proxy.url, choose, done) as client:
            applied = case.run(client=client)
        assert client.deaf >= QUICK.tries
        is_old_or_told(case, applied)
        outcomes.append(applied.outcome)
    assert set(outcomes) == {"rolled back", "partial"}


def test_one_is_never_answered_within_real_time(case: Case, hasty: AdminClient) -> None:
    case.begin(always(1, "hang"))
    is_old_or_told(case, case.run(client=hasty))


def test_the_node_goes_away_in_the_middle(case: Case) -> None:
    """Nothing can be taken back: everything that was done is listed, and the next run finishes it."""
    for number in range(2, OPERATIONS + 1, 3):
        case.begin(lambda count, *_, number=number: "gone" if count == number else None)
        applied = case.run()
        assert applied.outcome == "partial"
        assert len(applied.left) == number  # what was done, and the one of which nobody knows
        assert all(item.reason for item in applied.left)
        case.proxy.begin()
        case.run(changes(case.client, NEW))
        assert case.node.state() == case.new


def test_a_lost_lock_stops_and_takes_back(case: Case) -> None:
    asked = [0]

    def check() -> None:
        asked[0] += 1
        if asked[0] > 5:
            raise StoppedError("the lock was lost")

    applied = case.run(check=check)
    assert (applied.outcome, applied.reason) == ("rolled back", "the lock was lost")
    assert case.node.state() == case.old


def killed(case: Case, number: int, fault: str, workers: int = 1) -> set[tuple[str, str]]:
    """NEW is applied by a process that is killed at write `number`, which is done (lost) or not (reset). The changes
    that are missing then."""
    victim = Victim(apply_at, case.proxy.url, NEW, workers)

    def choose(count: int, *_: str) -> str | None:
        if count != number:
            return None
        victim.kill()
        return fault

    case.begin(choose)
    server = case.proxy.server
    assert server is not None
    others = server.open  # our own, which are kept
    victim.start()
    assert victim.end() == -signal.SIGKILL
    server.settled(others)
    case.proxy.begin()
    done = case.node.state()
    return {
        (change.kind, change.id)
        for change in case.changes.changes
        if done[change.kind].get(change.id) != case.new[change.kind].get(change.id)
    }


@pytest.mark.parametrize("fault", ["reset", "lost"])
def test_the_client_is_killed(case: Case, fault: str) -> None:
    """Nobody is there to take anything back: the next run sees what is missing, no more, and does it; or it takes
    back what was done, when all is to be as before."""
    for number in range(1, OPERATIONS + 1):
        missing = killed(case, number, fault)
        assert len(missing) == OPERATIONS - number + (fault == "reset"), number
        left = changes(case.client, NEW)
        assert {(change.kind, change.id) for change in left.changes} == missing
        half = case.node.store
        assert case.run(left).done == len(missing) or not missing
        assert case.node.state() == case.new, number
        case.node.store = half
        apply_all(case.client, OLD, 1)
        assert case.node.state() == case.old, number


def test_the_client_is_killed_with_many_connections(case: Case) -> None:
    for number in (2, 7, 12):
        missing = killed(case, number, "lost", workers=8)
        assert 0 < len(missing) <= OPERATIONS - number
        left = changes(case.client, NEW)
        assert {(change.kind, change.id) for change in left.changes} == missing
        assert case.run(left, workers=8).done == len(missing)
        assert case.node.state() == case.new, number


def test_in_parallel(case: Case) -> None:
    for number in (3, 8, 14):
        case.begin(always(number, "refuse"))
        assert case.run(workers=8).outcome == "rolled back"
        assert case.node.state() == case.old
    case.begin()
    assert case.run(workers=8).outcome == "changed"
    assert case.node.state() == case.new


def test_progress_counts_to_the_end(case: Case) -> None:
    seen: list[tuple[int, int]] = []
    case.run(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, OPERATIONS) for number in range(1, OPERATIONS + 1)]


def test_nothing_secret_in_what_is_told(case: Case) -> None:
    assert "sesame" not in json.dumps([change.fields for change in case.changes.changes])
    assert "sesame" not in repr(case.changes)
