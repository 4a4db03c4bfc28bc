"""Prepared answers: what the adapter gives when a service cannot answer, named by their content.

The adapter holds the answers itself (nothing can be fetched at the moment of failure), so a verdict only
names them by hash and the adapter asks once a worker for the ones it does not know.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, NamedTuple

from kong_plugins.engine.verdict import Pairs


class PreparedAnswer(NamedTuple):
    """One answer. `on` holds its tokens: statuses ("502") or refused, reset, timeout, no_target, open, forced.

    methods, paths (globs), accept (a media type): what the request must show; empty: anything. retry_after: seconds
    of a Retry-After header, 0 for none. grpc_status: for gRPC requests, in place of status and body. filled: whether
    body or headers have placeholders.
    """

    name: str
    on: tuple[str, ...]
    status: int
    headers: Pairs
    body: str
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    accept: str = ""
    retry_after: int = 0
    grpc_status: int = 14
    filled: bool = False

    @property
    def is_conditional(self) -> bool:
        """Whether some requests do not get it."""
        return bool(self.methods or self.paths or self.accept)


class PreparedPlan(NamedTuple):
    """The answers of one route in their order; the first with a matching token is used."""

    hash: str
    answers: tuple[PreparedAnswer, ...]


def plan(answers: tuple[PreparedAnswer, ...]) -> PreparedPlan:
    """The plan with its content hash: 32 hexadecimal digits of BLAKE2b over the wire form."""
    content = json.dumps(_wire_answers(answers), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return PreparedPlan(blake2b(content.encode("ascii"), digest_size=16).hexdigest(), answers)


def to_wire(prepared: PreparedPlan) -> dict[str, Any]:
    """The answer to the adapter's `["p", hash]` (docs/protocol.md)."""
    return {"k": prepared.hash, "r": _wire_answers(prepared.answers)}


def _wire_answers(answers: tuple[PreparedAnswer, ...]) -> list[dict[str, Any]]:
    return [_wire(answer) for answer in answers]


def _wire(answer: PreparedAnswer) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "on": list(answer.on),
        "st": answer.status,
        "h": [text for pair in answer.headers for text in pair],
        "b": answer.body,
        "nm": answer.name,
    }
    more: dict[str, Any] = {
        "md": list(answer.methods),
        "pt": [lua_pattern(glob) for glob in answer.paths],
        "ac": answer.accept,
        "ra": answer.retry_after,
        "gs": 0 if answer.grpc_status == 14 else answer.grpc_status,
        "fi": answer.filled,
    }
    # absent as in adapters of before, whose hash must not change
    return {**wire, **{key: value for key, value in more.items() if value}}


def lua_pattern(glob: str) -> str:
    """A glob as a Lua pattern of the whole path: `*` is anything but a slash, `**` anything."""
    made = ["^"]
    index = 0
    while index < len(glob):
        character = glob[index]
        if glob.startswith("**", index):
            made.append(".*")
            index += 2
            continue
        if character == "*":
            made.append("[^/]*")
        else:
            made.append(
                character
                if character.isalnum() or character in "/_" or character >= "\x80"
                else f"%{character}"
            )
        index += 1
    return "".join(made) + "$"
