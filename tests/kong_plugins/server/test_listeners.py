"""Accepting: no busy loop without descriptors, and nothing old is let in after a pause."""

import asyncio
import errno
import os
import socket
import time
from pathlib import Path

import pytest
import uvloop

from kong_plugins.server import listeners as module
from kong_plugins.server.listeners import Listeners
from kong_plugins.server.peers import Allowed

ME = Allowed(frozenset({os.geteuid()}), frozenset())


class Exhausted(socket.socket):
    """A listening socket whose accept fails as long as `broken` says."""

    broken = 0
    asked = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self.broken:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def listening(path: Path) -> Exhausted:
    listener = Exhausted(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.setblocking(False)
    return listener


def connect(path: Path, said: bytes = b"") -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.sendall(said)
    client.setblocking(False)
    return client


def test_without_descriptors_it_waits_and_goes_on_when_there_are_some(tmp_path: Path) -> None:
    listener, taken = listening(tmp_path / "s"), list[int]()
    listener.broken = 1

    async def run() -> int:
        made = Listeners({"express": listener}, ME, lambda _lane, fd: taken.append(fd), lambda: None)
        made.accept(True)
        client = connect(tmp_path / "s")
        await asyncio.sleep(0.35)
        asked = listener.asked
        listener.broken = 0
        await asyncio.sleep(0.15)
        made.close()
        client.close()
        return asked

    assert uvloop.run(run()) <= 5, "a busy loop would ask thousands of times"
    assert len(taken) == 1
    os.close(taken[0])
    listener.close()


@pytest.mark.parametrize(
    ("lane", "said", "let_in"),
    [
        ("passport", b"a question of before", False),
        ("passport", b"", True),
        ("express", b"a question of before", True),
    ],
)
def test_what_was_asked_long_before_is_not_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane: str, said: bytes, let_in: bool
) -> None:
    """While no worker serves connections wait in the kernel; Kong has given up on what it sent then."""
    listener, taken = listening(tmp_path / "s"), list[int]()
    now = [time.monotonic()]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    async def run() -> bytes | None:
        loop = asyncio.get_running_loop()
        made = Listeners({lane: listener}, ME, lambda _lane, fd: taken.append(fd), lambda: None)
        client = connect(tmp_path / "s", said)
        now[0] += 0.2
        made.accept(True)
        await asyncio.sleep(0.02)
        made.close()
        try:
            return None if let_in else await loop.sock_recv(client, 1)
        except ConnectionResetError:
            return b""
        finally:
            client.close()

    assert uvloop.run(run()) == (None if let_in else b"")
    assert len(taken) == int(let_in)
    for fd in taken:
        os.close(fd)
    listener.close()


def test_a_stranger_is_refused_with_the_option_that_would_admit_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener, refused = listening(tmp_path / "s"), list[int]()

    async def run() -> None:
        nobody = Allowed(frozenset(), frozenset())
        made = Listeners(
            {"express": listener}, nobody, lambda _lane, fd: os.close(fd), lambda: refused.append(1)
        )
        made.accept(True)
        client = connect(tmp_path / "s")
        await asyncio.sleep(0.02)
        made.close()
        client.close()

    uvloop.run(run())
    assert refused == [1]
    assert f"uid {os.geteuid()} " in caplog.text
    assert f"--allow-uid {os.geteuid()}" in caplog.text
    assert f"--allow-gid {os.getegid()}" in caplog.text
    listener.close()
