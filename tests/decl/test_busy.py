"""Retry-After: how it is read, how long a busy node is waited for, and what is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from decl.admin import AdminClient, AdminError
from decl.apply import push
from decl.apply_db import StoppedError
from decl.busy import Waiting, retry_after
from decl.lock import TagLock
from decl.render import Rendered
from decl.retry import Patience, Sender
from decl.source import Sources
from decl.writes import Write
from tests.decl.admin_stub import AdminStub, Answer, Seen, admin_stub
from tests.decl.db_node import db_node, fault_proxy

NOW = 784111777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110 section 5.6.7."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("2.5", 2.5),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30),
        ("Sunday, 06-Nov-94 08:50:07 GMT", 30),
        ("Sun Nov  6 08:50:07 1994", 30),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("9" * 400, 10 * 366 * 86400),
        *(
            (text, None)
            for text in ("", "soon", "-5", "1e3", "nan", "inf", "1_0", "0x10", "Sun, 99 Nov 1994")
        ),
    ],
)
def test_what_it_says(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOW) == seconds


def test_a_date_is_read_against_the_answers_own() -> None:
    headers = {"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT", "date": "Sun, 06 Nov 1994 08:50:00 GMT"}
    assert retry_after(headers, NOW) == 7  # whatever the clock here says
    assert retry_after({}, NOW) is None


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.told: list[str] = []

    def now(self) -> float:
        return sum(self.slept)

    def waiting(self, budget: float) -> Waiting:
        return Waiting(budget, self.now, self.slept.append, self.told.append, lambda: NOW)


def test_the_budget_is_for_all_pauses() -> None:
    clock = Clock()
    waiting = clock.waiting(60)
    assert waiting.wait("n", 30) is None
    assert waiting.wait("n", 30) is None
    assert waiting.wait("n", 30) == (
        "is busy and asks to be tried again in 30 s, and a busy node is waited for 60 s at most; "
        "try again after 1994-11-06 08:50:07 UTC"
    )
    assert clock.slept == [30, 30]
    assert clock.told == ["n: is busy; trying again in 30 s"] * 2


def test_a_node_that_says_nothing_is_asked_each_second() -> None:
    clock = Clock()
    waiting = clock.waiting(3)
    assert [waiting.wait("n", None) for _ in range(4)] == [
        None,
        None,
        None,
        "was still busy after 3 s; try again later",
    ]


def test_a_node_that_says_0_is_not_asked_without_a_pause() -> None:
    clock = Clock()
    waiting = clock.waiting(1)
    while waiting.wait("n", 0) is None:
        pass
    assert len(clock.slept) <= 10


# -- one node ------------------------------------------------------------------------------------------------


@pytest.fixture
def stub() -> Iterator[AdminStub]:
    with admin_stub() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


WRITE = Write("POST", "/config", {"name": "a"}, "/services/a")


def send(stub: AdminStub, clock: Clock) -> None:
    with AdminClient(stub.url) as client:
        Sender(client, Patience(pause=0.5), clock.now, clock.slept.append, clock.told.append).send(WRITE)


@pytest.mark.parametrize("status", [429, 503])
def test_a_write_waits_as_long_as_it_is_told(stub: AdminStub, clock: Clock, status: int) -> None:
    busy = Answer(status, {}, (("Retry-After", "30"),))
    stub.on_post = lambda _: busy if len(stub.posts) < 3 else Answer(201, {})
    send(stub, clock)
    assert sum(clock.slept) == 60
    assert clock.told == [f"{stub.url}: is busy; trying again in 30 s"] * 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_write_is_given_up_when_it_would_take_too_long(stub: AdminStub, clock: Clock, status: int) -> None:
    stub.on_post = lambda _: Answer(status, {}, (("Retry-After", "3600"),))
    with pytest.raises(
        AdminError, match=r"in 3600 s, and .* 60 s at most; try again after 20\d\d-"
    ) as caught:
        send(stub, clock)
    assert caught.value.status == status
    assert caught.value.uncertain == (status == 503)
    assert len(stub.posts) == 1
    assert clock.slept == []


def test_a_503_that_says_nothing_is_tried_four_times(stub: AdminStub, clock: Clock) -> None:
    stub.on_post = lambda _: Answer(503, {})
    with pytest.raises(AdminError, match="503"):
        send(stub, clock)
    assert len(stub.posts) == 4
    pauses = zip(clock.slept, (0.5, 1.0, 2.0), strict=True)
    assert all(0.5 * pause <= slept < 1.5 * pause for slept, pause in pauses)


@pytest.mark.parametrize(("status", "header"), [(429, True), (429, False), (503, True)])
def test_a_read_waits_too(stub: AdminStub, clock: Clock, status: int, header: bool) -> None:
    def answer(_: Seen) -> Answer | None:
        return Answer(status, {}, (("Retry-After", "7"),) if header else ()) if len(stub.seen) < 3 else None

    stub.on_status = answer
    with AdminClient(
        stub.url, busy=20, notice=clock.told.append, now=clock.now, sleep=clock.slept.append
    ) as client:
        client.config_hash()
    assert clock.slept == ([7, 7] if header else [1, 1])
    assert len(clock.told) == 2


def test_a_read_is_given_up(stub: AdminStub, clock: Clock) -> None:
    stub.on_status = lambda _: Answer(429, {}, (("Retry-After", "3600"),))
    with (
        AdminClient(stub.url, now=clock.now, sleep=clock.slept.append) as client,
        pytest.raises(AdminError, match="try again after"),
    ):
        client.config_hash()
    assert clock.slept == []


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_read_is_made_again(stub: AdminStub, clock: Clock, status: int) -> None:
    stub.on_status = lambda _: Answer(status, {}) if len(stub.seen) < 3 else None
    with AdminClient(stub.url, now=clock.now, sleep=clock.slept.append) as client:
        client.config_hash()
        assert clock.slept == [0.2, 0.4]
        stub.on_status = lambda _: Answer(status, {})
        stub.seen.clear()
        with pytest.raises(AdminError, match=str(status)):
            client.config_hash()
    assert len(stub.seen) == 3


@pytest.mark.parametrize(("resets", "read"), [(2, True), (3, False)])
def test_a_read_whose_connection_is_reset_is_made_again(clock: Clock, resets: int, read: bool) -> None:
    accepted = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            accepted[0] += 1
            if accepted[0] > resets:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"configuration_hash": "x"}')

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with AdminClient(url, now=clock.now, sleep=clock.slept.append) as client:
            if read:
                assert client.config_hash() == "x"
            else:
                with pytest.raises(AdminError) as caught:
                    client.config_hash()
                assert caught.value.reset
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert accepted == [3]
    assert clock.slept == [0.2, 0.4]


def test_a_node_that_is_away_is_not_waited_for(clock: Clock) -> None:
    with (
        AdminClient("http://127.0.0.1:9", now=clock.now, sleep=clock.slept.append) as client,
        pytest.raises(AdminError, match="away"),
    ):
        client.config_hash()
    assert clock.slept == []


# -- the lock, while a busy node is waited for ---------------------------------------------------------------


class Held:
    """A lock that is renewed when it is asked about, and is lost after `seconds`."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self.asked: list[float] = []

    def check(self) -> None:
        self.asked.append(self._clock.now())
        if self._clock.now() >= self._seconds:
            raise StoppedError("the lock was lost")


def test_the_lock_is_kept_while_a_write_waits(stub: AdminStub, clock: Clock) -> None:
    busy = Answer(429, {}, (("Retry-After", "45"),))
    stub.on_post = lambda _: busy if len(stub.posts) < 2 else Answer(201, {})
    held = Held(clock, 1000)
    with AdminClient(stub.url) as client:
        Sender(client, Patience(), clock.now, clock.slept.append, check=held.check).send(WRITE)
    assert held.asked == [10, 20, 30, 40, 45]
    assert sum(clock.slept) == 45


def test_nothing_is_written_when_the_lock_was_lost_meanwhile(stub: AdminStub, clock: Clock) -> None:
    stub.on_post = lambda _: Answer(429, {}, (("Retry-After", "45"),))
    with AdminClient(stub.url) as client:
        sender = Sender(client, Patience(), clock.now, clock.slept.append, check=Held(clock, 20).check)
        with pytest.raises(AdminError, match="the lock was lost") as caught:
            sender.send(WRITE)
    assert not caught.value.uncertain
    assert len(stub.posts) == 1


def test_a_push_keeps_the_lock_too(stub: AdminStub, clock: Clock) -> None:
    stub.on_post = lambda _: Answer(429, {}, (("Retry-After", "45"),))
    rendered = Rendered("one", {"_format_version": "3.0", "consumers": [{"username": "alice"}]}, {})
    held = Held(clock, 20)
    with AdminClient(stub.url) as client:
        (result,) = push(
            [client], rendered, Sources(()), now=clock.now, sleep=clock.slept.append, check=held.check
        )
    assert (result.state, result.reason) == ("failed", "the lock was lost")
    assert held.asked == [0, 10, 20]
    assert len(stub.posts) == 1
    assert stub.hash == "0" * 32


def test_taking_the_lock_waits(clock: Clock) -> None:
    with db_node() as node, fault_proxy(node.admin) as proxy:
        proxy.begin(lambda number, *_: "busy" if number < 3 else None)
        with AdminClient(
            proxy.url, notice=clock.told.append, now=clock.now, sleep=clock.slept.append
        ) as client:
            assert TagLock(client).take("me", 60).fence == 1
    assert len(clock.told) == 2
