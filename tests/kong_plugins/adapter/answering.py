"""One connection's answers, read as they come."""

from __future__ import annotations

from typing import Any

from kong_plugins.server.told import numbered_frame

from .conftest import World

NUMBER = 1 << 16
ID, OTHER = "0" * 31 + "1", "0" * 31 + "2"
PASS = {"v": 1, "tn": "order", "s": ["X-Passport", "eyJ", "X-Canary", "control"], "m": "b=1", "ch": "ab" * 16}
UNTOLD = "bad answer: a verdict that was not told"
NOT_OURS = "bad answer: of another request"


def short(slot: int, request_id: str, number: int) -> bytes:
    body = b"\x83\xa1r\xce" + slot.to_bytes(4, "big") + b"\xa1n\xd9" + bytes((len(request_id),))
    body += request_id.encode() + b"\xa1q\xce" + number.to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + body


class Answers:
    """The module, and one connection's verdicts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.module = world.module("kgate.answers")
        self.told = world.table({})

    def frame(self, frame: bytes, number: int = NUMBER, waiting: str | None = ID) -> tuple[Any, Any]:
        """As it comes, between two others; the answer as a Lua table, and whether it is sound."""
        data, first = b"before" + frame[4:] + b"after", 7
        last = first + int.from_bytes(frame[:4], "big") - 1
        assert self.module.number(data, first, last) == number
        found = self.module.read(data, first, last, waiting and waiting.encode(), self.told)
        return found if isinstance(found, tuple) else (found, None)

    def read(self, wire: dict[str, Any], number: int = NUMBER, waiting: str | None = ID) -> tuple[Any, Any]:
        return self.frame(numbered_frame(dict(wire), number), number, waiting)

    def py(self, wire: dict[str, Any], **more: Any) -> tuple[Any, bool]:
        found, sound = self.read(wire, **more)
        return self.world.py(found), sound

    def same(self, one: Any, other: Any) -> bool:
        return bool(self.world.run("local a, b = ... return rawequal(a, b)", one, other))
