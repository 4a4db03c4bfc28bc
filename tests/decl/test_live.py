"""Reading a node with a database: pages, tags on the server, several kinds at a time; on real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from decl.admin import AdminClient, AdminError
from decl.live import WORKERS, read_live
from tests.http_stub import answering

SERVICES = [{"id": f"{n:04}", "name": f"s{n}"} for n in range(1_001)]
TOGETHER = 4
"""Requests that the node waits for before it answers the first one."""


class Node:
    """Tells 1,001 services in pages of the size that is asked for, and notes what it is asked."""

    def __init__(self) -> None:
        self.url = ""
        self.tags: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.together = threading.Barrier(TOGETHER)
        self.first = threading.Semaphore(TOGETHER)

    def answer(self, path: str) -> dict[str, object]:
        self.asked.append(path)
        if self.first.acquire(blocking=False):
            self.together.wait(5)
        url = urlsplit(path)
        if url.path != "/services":
            return {"data": [], "next": None}
        query = parse_qs(url.query)
        size, start = int(query["size"][0]), int(query.get("offset", ["0"])[0])
        end = start + size
        more = f"/services?size={size}&offset={end}" if end < len(SERVICES) else None
        data = [{**each, "tags": self.tags.get(each["id"])} for each in SERVICES[start:end]]
        return {"data": data if self.tags else SERVICES[start:end], "next": more}


@pytest.fixture
def node() -> Iterator[Node]:
    with serving(Node()) as made:
        yield made


@contextmanager
def serving(node: Node) -> Iterator[Node]:
    def answer(request: Any) -> tuple[int, bytes]:
        try:
            return 200, json.dumps(node.answer(request.path)).encode()
        except threading.BrokenBarrierError:
            return 500, b'{"message": "asked one after the other"}'

    with answering(answer) as node.url:
        yield node


def test_pages_of_1000_are_followed_and_kinds_are_read_together(node: Node) -> None:
    with AdminClient(node.url) as client:
        live = read_live(client)  # the node answers nothing before four requests are there
    assert list(live["services"].values()) == SERVICES
    services = [path for path in node.asked if path.startswith("/services")]
    assert services == ["/services?size=1000", "/services?size=1000&offset=1000"]
    assert all("size=1000" in path and "tags=" not in path for path in node.asked)


def test_tags_are_picked_by_the_server(node: Node) -> None:
    with AdminClient(node.url) as client:
        read_live(client, ["team-a", "x&y"])
    firsts = [path for path in node.asked if "offset" not in path]
    assert all(path.endswith("?size=1000&tags=team-a,x%26y") for path in firsts)
    assert {"/services?size=1000&tags=team-a,x%26y", "/plugins?size=1000&tags=team-a,x%26y"} <= set(firsts)


class Broken(Node):
    """Answers 500 to some requests, as Kong 3.9.3 does without a database."""

    def __init__(self, broken: str, database: bool = False) -> None:
        super().__init__()
        self.first = threading.Semaphore(0)
        self._broken = broken
        self._status: dict[str, object] = {} if database else {"configuration_hash": "0" * 32}

    def answer(self, path: str) -> dict[str, object]:
        if self._broken in path:
            raise threading.BrokenBarrierError
        return self._status if path == "/status" else super().answer(path)


def test_keys_that_a_dbless_node_cannot_list() -> None:
    """When one of them has a ttl: what else there is must be read, to get it out of that."""
    with serving(Broken("/key-auths")) as node, AdminClient(node.url) as client:
        live = read_live(client)
        assert live["keyauth_credentials"] == {}
        assert len(live["services"]) == len(SERVICES)


def test_tags_that_a_dbless_node_cannot_pick_by() -> None:
    """When an entity has none: all are read, and picked here."""
    with serving(Broken("tags=")) as node, AdminClient(node.url) as client:
        assert read_live(client, ["team-a"])["services"] == {}
        node.tags = {"0007": ["x", "team-a"], "0008": ["team-b"]}
        assert list(read_live(client, ["team-a"])["services"]) == ["0007"]


@pytest.mark.parametrize("broken", ["/key-auths", "tags=", "/routes"])
def test_other_errors_of_the_server_are_told(broken: str) -> None:
    with (
        serving(Broken(broken, database=broken != "/routes")) as node,
        AdminClient(node.url) as client,
        pytest.raises(AdminError, match="HTTP 500"),
    ):
        read_live(client, ["team-a"])


def test_as_many_connections_as_agreed() -> None:
    assert 8 <= WORKERS <= 16
