"""What the operators' commands share: TTLs, and which error ends a command how."""

from __future__ import annotations

import threading

import click
import pytest

from cli.errors import UsageError
from cli.operate import Notes, StoreAt, Ttl, opened, parse_moment, parse_ttl, seconds_of
from kong_plugins.state.base import Conflict, RowsGone, StoreError, StoreFull
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.operations.common import NotFound, Refused


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("15m", 900), ("2h", 7_200), ("3650d", 315_360_000)]
)
def test_ttl_in_seconds(text: str, seconds: float) -> None:
    assert parse_ttl(text) == Ttl(text, seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "0s", "00m", "-1s", "5", "5 m", "1w", "1h30m", "1e3s", "3651d", "nan", "٣m", "20300131"]
)
def test_what_is_no_ttl(text: str) -> None:
    with pytest.raises(UsageError, match="--ttl"):
        parse_ttl(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T18:00Z", 1_896_112_800.0),
        ("2030-01-31T18:00", 1_896_112_800.0),
        ("2030-01-31T19:00+01:00", 1_896_112_800.0),
        ("2030-01-31", 1_896_048_000.0),
        ("soon", None),
        ("-5", None),
        ("2030-13-01", None),
    ],
)
def test_moments(text: str, moment: float | None) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize(
    ("now", "left"), [(1_896_112_790.0, 10.0), (1_896_112_800.0, None), (1_500_000_000.0, None)]
)
def test_a_moment_is_measured_by_the_stores_clock(now: float, left: float | None) -> None:
    store, ttl = MemoryStore(lambda: now), parse_ttl("2030-01-31T18:00Z")
    if left is not None:
        assert seconds_of(ttl, store) == left
        assert Notes("kim", "why", ttl).lasting(store) == {"actor": "kim", "reason": "why", "ttl": left}
        return
    with pytest.raises(UsageError, match=r"is over|too far away"):
        seconds_of(ttl, store)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ValueError("bad"), 2, "bad"),
        (Refused("no"), 4, "no"),
        (NotFound("none"), 1, "none"),
        (StoreFull("full"), 1, "full"),
        (Conflict("late"), 1, "late; somebody else was faster: try again"),
        (RowsGone("gone"), 1, "gone; somebody else was faster: try again"),
        (StoreError("away"), 1, "away; give the right Redis by --redis or REDIS_URL"),
        (
            StoreError("used memory > 'maxmemory'."),
            1,
            "used memory > 'maxmemory'.; its memory is full: make room",
        ),
        (
            StoreError("a read only replica"),
            1,
            "a read only replica; give the Redis that it copies by --redis",
        ),
    ],
)
def test_how_an_error_ends_a_command(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, says: str
) -> None:
    monkeypatch.setattr("cli.operate.open_store", lambda *_: MemoryStore())
    with pytest.raises(click.ClickException) as caught, opened(StoreAt("redis://127.0.0.1:9/0", "default")):
        raise error
    assert caught.value.exit_code == code
    assert caught.value.message.startswith(says)


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def look_up(*_: object) -> None:
        done.wait(5)
        raise OSError("no such name")

    monkeypatch.setattr("cli.operate.REACH_SECONDS", 0.01)
    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with (
        pytest.raises(click.ClickException) as caught,
        opened(StoreAt("rediss://u:s3cret@redis.example:6379/0", "default")),
    ):
        pass
    done.set()
    assert "rediss://redis.example:6379/0: no answer within 0.01 s; give the right" in caught.value.message
    assert "s3cret" not in caught.value.message
