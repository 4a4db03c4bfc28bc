"""What is asked between the stages: is the adapter live?"""

from __future__ import annotations

import threading

import pytest

from decl.apply_db import StoppedError, apply
from decl.change import Change
from decl.render import PROTECTED_TAG
from decl.server_schema import Schemas
from decl.writes import Write


def create(kind: str, entity_id: str, **fields: object) -> Change:
    return Change("create", kind, entity_id, entity_id, {"id": entity_id, **fields})


GUARD = create("plugins", "guard", name="kgate")
ROUTE = create("routes", "route", tags=[PROTECTED_TAG])
OPEN = create("routes", "open")


class Recorder:
    """A node that takes everything, and notes it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._mutex = threading.Lock()

    def send(self, write: Write) -> None:
        with self._mutex:
            self.log.append(f"{write.method} {write.path}")

    def probe(self) -> None:
        self.log.append("is it live?")

    def never(self) -> None:
        raise StoppedError("no adapter answers")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([ROUTE, GUARD], ["PUT /plugins/guard", "is it live?", "PUT /routes/route"]),
        ([OPEN, GUARD], ["PUT /plugins/guard", "is it live?", "PUT /routes/open"]),
        ([ROUTE], ["is it live?", "PUT /routes/route"]),
        ([OPEN], ["PUT /routes/open"]),
    ],
    ids=["new adapter", "new adapter, nothing protected", "protected", "nothing protected"],
)
def test_the_adapter_is_seen_live_first(changes: list[Change], expected: list[str]) -> None:
    node = Recorder()
    applied = apply(changes, node, Schemas(lambda _: None), adapter_is_live=node.probe)
    assert (applied.outcome, node.log) == ("changed", expected)


def test_without_it_nothing_protected_is_written() -> None:
    node = Recorder()
    applied = apply([ROUTE, GUARD], node, Schemas(lambda _: None), adapter_is_live=node.never)
    assert (applied.outcome, applied.reason) == ("rolled back", "no adapter answers")
    assert node.log == ["PUT /plugins/guard", "DELETE /plugins/guard"]


def test_nothing_to_do() -> None:
    node = Recorder()
    assert apply([], node, Schemas(lambda _: None)).outcome == "unchanged"
    assert node.log == []


def test_a_name_is_free_before_another_one_takes_it() -> None:
    """Deletes come last, so that nothing is unprotected; but Kong takes no name twice."""

    def deleted(kind: str, entity_id: str, **fields: object) -> Change:
        return Change("delete", kind, entity_id, entity_id, None, {"id": entity_id, **fields})

    cart = {"id": "new", "name": "cart"}
    changes = [
        Change("update", "services", "new", "new", cart, {**cart, "name": "basket"}),
        deleted("services", "old", name="cart"),
        deleted("routes", "below", name="below", service={"id": "old"}),
        deleted("plugins", "deep", name="cors", route={"id": "below"}),
        deleted("services", "other", name="other"),
        create("consumers", "kim", username="kim"),
    ]
    node = Recorder()
    assert apply(changes, node, Schemas(lambda _: None), workers=1).outcome == "changed"
    order = [line.rpartition("/")[2] for line in node.log]
    assert [name for name in order if name != "kim"] == ["deep", "below", "old", "new", "other"]
    assert order[-1] == "other"
