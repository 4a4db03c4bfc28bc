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
    """One answer. `on` holds its tokens: statuses ("502") or refused, timeout, no_target."""

    name: str
    on: tuple[str, ...]
    status: int
    headers: Pairs
    body: str


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
    return [
        {
            "on": list(answer.on),
            "st": answer.status,
            "h": [text for pair in answer.headers for text in pair],
            "b": answer.body,
            "nm": answer.name,
        }
        for answer in answers
    ]
