"""One sync of a cluster at a time: a lease in Redis, in the Kong database itself, or on this machine.

A lease ends by itself, so that a killed run does not hold it for ever. A run that was stopped for longer than its
lease must not write any more, because another may hold it by then: `check` is asked before each write, and the
fence, a number that only grows, tells the two apart in the history.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from decl.admin import AdminClient, AdminError, GoneError, RejectedError
from decl.apply_db import StoppedError
from decl.blobs import BlobError
from decl.change import LOCK_NAME

TTL = 60.0
"""Seconds of a lease; it is renewed after a third of them."""


class HeldError(Exception):
    """Another run holds the lock; `holder` says who."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"another run holds the lock: {holder}")
        self.holder = holder


class Grant(NamedTuple):
    """What a backend gives: the fence, and a token that proves who holds it."""

    fence: int
    token: str


class Backend(Protocol):
    """Where a lock lies. ttl is seconds."""

    def take(self, holder: str, ttl: float) -> Grant:
        """Raises HeldError."""

    def renew(self, grant: Grant, ttl: float) -> bool:
        """Whether it is still ours."""

    def release(self, grant: Grant) -> None: ...


class Lease:
    """A held lock; use it as a context manager."""

    def __init__(
        self, backend: Backend, holder: str, ttl: float = TTL, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._backend, self._ttl, self._now = backend, ttl, now
        self._taken = now()
        self._grant = backend.take(holder, ttl)
        self._mutex = threading.Lock()

    @property
    def fence(self) -> int:
        """Grows with every holder."""
        return self._grant.fence

    def check(self) -> None:
        """Renew it when that is due. Raises StoppedError when it is lost: nothing may be written then."""
        if self._now() - self._taken < self._ttl / 3:
            return
        with self._mutex:
            asked = self._now()
            if asked - self._taken < self._ttl / 3:
                return
            try:
                ours = self._backend.renew(self._grant, self._ttl)
            except (BlobError, AdminError):
                # it cannot be asked: what was granted still holds, for a while
                if asked - self._taken < self._ttl * 0.8:
                    return
                ours = False
            if not ours:
                raise StoppedError("the lock was lost: another run may have begun")
            self._taken = asked

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self._backend.release(self._grant)


_TAKE = """
local held = redis.call('HGET', KEYS[1], 'token')
if held then return {0, redis.call('HGET', KEYS[1], 'holder')} end
local fence = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'holder', ARGV[2], 'fence', fence)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {fence, ''}
"""
_RENEW = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
_RELEASE = "if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


class RedisLock:
    """In Redis. client: a redis.Redis that gives bytes. Methods raise BlobError when it cannot be asked."""

    def __init__(self, client: Any, key: str) -> None:
        self._client, self._key = client, key

    def take(self, holder: str, ttl: float) -> Grant:
        token = secrets.token_hex(16)
        keys = (self._key, f"{self._key}:fence")
        fence, other = self._eval(_TAKE, *keys, token, holder, int(ttl * 1000))
        if not fence:
            raise HeldError(other.decode() if other else "somebody")
        return Grant(int(fence), token)

    def renew(self, grant: Grant, ttl: float) -> bool:
        return bool(self._eval(_RENEW, self._key, grant.token, int(ttl * 1000)))

    def release(self, grant: Grant) -> None:
        with contextlib.suppress(BlobError):  # it ends by itself
            self._eval(_RELEASE, self._key, grant.token)

    def _eval(self, script: str, *arguments: Any) -> Any:
        from redis.exceptions import RedisError

        keys = sum(str(argument).startswith(self._key) for argument in arguments)
        try:
            return self._client.eval(script, keys, *arguments)
        except (RedisError, OSError) as error:
            raise BlobError(f"Redis: {error}") from error


class TagLock:
    """In a Kong database: an upstream of a fixed name without targets, which only one can create.

    Its tags say who, until when (by the clocks of those who sync) and the fence. One that has
    expired is deleted by its id, and only one of those who see that gets to create the next.
    """

    def __init__(self, client: AdminClient, now: Callable[[], float] = time.time) -> None:
        self._client, self._now = client, now

    def take(self, holder: str, ttl: float) -> Grant:
        fence = 1
        for _ in range(2):
            found = self._held()
            if found is not None:
                tags = _tags(found)
                if float(tags.get("until", "0")) > self._now():
                    raise HeldError(tags.get("holder", "somebody"))
                fence = int(tags.get("fence", "0")) + 1
                self._client.send("DELETE", f"/upstreams/{found['id']}")
            token = secrets.token_hex(8)
            try:
                made = self._client.send("POST", "/upstreams", self._body(holder, token, fence, ttl))
            except RejectedError:
                continue  # another was faster: look who
            return Grant(fence, f"{made['id']} {token} {_safe(holder)}")
        raise HeldError("somebody")

    def renew(self, grant: Grant, ttl: float) -> bool:
        entity, token, holder = grant.token.split(" ", 2)
        found = self._held()
        if found is None or found["id"] != entity or _tags(found).get("token") != token:
            return False
        body = self._body(holder, token, grant.fence, ttl)
        self._client.send("PATCH", f"/upstreams/{entity}", {"tags": body["tags"]})
        return True

    def release(self, grant: Grant) -> None:
        # it stays, expired: the fence must grow from it
        entity, token, holder = grant.token.split(" ", 2)
        try:
            found = self._held()
            if found is not None and found["id"] == entity and _tags(found).get("token") == token:
                body = self._body(holder, token, grant.fence, -1)
                self._client.send("PATCH", f"/upstreams/{entity}", {"tags": body["tags"]})
        except AdminError:
            return  # it ends by itself

    def _held(self) -> dict[str, Any] | None:
        try:
            return self._client.get(f"/upstreams/{LOCK_NAME}")
        except GoneError:
            return None

    def _body(self, holder: str, token: str, fence: int, ttl: float) -> dict[str, Any]:
        until = int(self._now() + ttl)
        facts = {"holder": _safe(holder), "until": str(until), "fence": str(fence), "token": token}
        return {"name": LOCK_NAME, "tags": [f"kgate-lock-{name}:{value}" for name, value in facts.items()]}


def told(entity: Mapping[str, Any], now: float) -> str:
    """Who holds a TagLock and for how long, "" for one that has ended. now is Unix seconds."""
    tags = _tags(entity)
    left = float(tags.get("until", "0")) - now
    return f"{tags.get('holder', 'somebody')}, for {left:.0f} s at most" if left > 0 else ""


def _safe(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() and c not in ",/" else "-" for c in text)


def _tags(entity: Mapping[str, Any]) -> dict[str, str]:
    pairs = (tag.removeprefix("kgate-lock-").partition(":") for tag in entity.get("tags") or ())
    return {name: value for name, _, value in pairs}


class FileLock:
    """On this machine: flock, which ends with the process. It does not see runs on other machines."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, -1

    def take(self, holder: str, ttl: float) -> Grant:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = os.read(self._file, 500).decode("utf-8", "replace").partition(" ")[2]
            os.close(self._file)
            raise HeldError(text or "a run on this machine") from error
        before = os.read(self._file, 500).decode("utf-8", "replace").partition(" ")[0]
        fence = int(before) + 1 if before.isdigit() else 1
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{fence} {holder}".encode(), 0)
        return Grant(fence, str(os.getpid()))

    def renew(self, grant: Grant, ttl: float) -> bool:
        return True

    def release(self, grant: Grant) -> None:
        os.close(self._file)
