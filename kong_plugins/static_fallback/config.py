"""static-fallback's config as Kong holds it.

    responses:                a list, the first answer with a matching token is used
      name          stands in the answer's X-Fallback header, default static
      on            when: statuses "400" to "599", or refused, timeout, no_target (Kong's own failures)
      status        200 to 599, default 200
      headers       further headers by name
      body          text, 64 KB at most, default empty
      content_type  default text/plain; charset=utf-8
    fail            closed | open: what happens when there is no verdict, default closed

How the YAML file may write it is in `source.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kong_plugins.engine import fields
from kong_plugins.engine.verdict import Pairs, Verdict
from kong_plugins.static_fallback import prepared
from kong_plugins.static_fallback.source import SOURCE_SCHEMA, TEXT_TYPE, to_kong

__all__ = ["SCHEMA", "SOURCE_SCHEMA", "Config", "parse", "to_kong"]

MAX_BODY_BYTES = 65_536
"""The adapter keeps the answers in every worker's memory."""
MAX_ANSWERS = 32
WORDS = ("refused", "timeout", "no_target")

_TEXT: dict[str, Any] = {"type": "string"}

SCHEMA: list[dict[str, Any]] = [
    fields.FAIL,
    {
        "responses": {
            "type": "array",
            "required": True,
            "len_min": 1,
            "len_max": MAX_ANSWERS,
            "elements": {
                "type": "record",
                "fields": [
                    {"name": {"type": "string", "default": "static", "required": True}},
                    {"on": {"type": "array", "elements": _TEXT, "required": True, "len_min": 1}},
                    {"status": {"type": "integer", "between": [200, 599], "default": 200, "required": True}},
                    {"headers": {"type": "map", "keys": _TEXT, "values": _TEXT}},
                    {"body": _TEXT},
                    {"content_type": _TEXT},
                ],
            },
        }
    },
]
"""Kong schema fields of the plugin's config."""

_STATUS = re.compile(r"[45][0-9][0-9]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # token, RFC 9110 section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_NOT_YOURS = frozenset(
    {
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-fallback",
    }
)
"""Framing belongs to the server (RFC 9110 section 7.6.1); the others are set by static-fallback itself."""
_NO_BODY = (204, 205, 304)


@dataclass(frozen=True, slots=True)
class Config:
    """`plan` is what the adapter gets, `verdict` names it."""

    fail: str
    plan: prepared.PreparedPlan
    verdict: Verdict


def parse(raw: Mapping[str, Any]) -> Config:
    """Parse Kong's config record. Raises ValueError naming the field."""
    responses = raw.get("responses")
    if not isinstance(responses, Sequence) or isinstance(responses, str) or not responses:
        raise ValueError("responses: expected a list of at least one answer")
    if len(responses) > MAX_ANSWERS:
        raise ValueError(f"responses: {len(responses)} answers, {MAX_ANSWERS} are allowed")
    answers = []
    taken: dict[str, int] = {}
    for number, response in enumerate(responses):
        if not isinstance(response, Mapping):
            raise ValueError(f"responses[{number}]: expected a record")
        try:
            answer = _answer(response)
        except ValueError as error:
            raise ValueError(f"responses[{number}].{error}") from error
        for token in answer.on:
            earlier = taken.setdefault(token, number)
            if earlier != number:
                raise ValueError(f"responses[{number}].on: responses[{earlier}] answers {token!r} already")
        answers.append(answer)
    plan = prepared.plan(tuple(answers))
    return Config(fail=fields.fail_policy(raw), plan=plan, verdict=Verdict(prepared=plan.hash))


def _answer(response: Mapping[str, Any]) -> prepared.PreparedAnswer:
    status = int(fields.number(response, "status", 200, 599, 200))
    if status != (response.get("status") or status):
        raise ValueError("status: expected a whole number")
    body = fields.text(response, "body", "")
    name = fields.text(response, "name", "static")
    if not _NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
    try:
        size = len(body.encode())
    except UnicodeEncodeError as error:
        raise ValueError("body: not text that UTF-8 can write") from error
    if size > MAX_BODY_BYTES:
        raise ValueError(f"body: {size} bytes, {MAX_BODY_BYTES} are allowed")
    if body and status in _NO_BODY:
        raise ValueError(f"body: an answer with status {status} has no body")
    return prepared.PreparedAnswer(name, _tokens(response), status, _headers(response, status), body)


def _tokens(response: Mapping[str, Any]) -> tuple[str, ...]:
    tokens = fields.texts(response, "on")
    if not tokens:
        raise ValueError("on: expected at least one status or word")
    for number, token in enumerate(tokens):
        if token not in WORDS and not _STATUS.fullmatch(token):
            raise ValueError(f"on[{number}]: {token!r} is not 400 to 599, {', '.join(WORDS)}")
    return tuple(dict.fromkeys(tokens))


def _headers(response: Mapping[str, Any], status: int) -> Pairs:
    content_type = fields.text(response, "content_type", "") or TEXT_TYPE
    if not _HEADER_VALUE.fullmatch(content_type):
        raise ValueError("content_type: not visible ASCII")
    given = response.get("headers") or {}
    if not isinstance(given, Mapping):
        raise ValueError("headers: expected a map of texts")
    seen: set[str] = set()
    for name, value in given.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"headers: {name!r} is not a header name")
        if name.lower() in _NOT_YOURS:
            raise ValueError(f"headers: {name} cannot be set here")
        if name.lower() in seen:
            raise ValueError(f"headers: {name} is there twice")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers: the value of {name} is not visible ASCII text")
        seen.add(name.lower())
    # Kong's maps have no order: sort, or the same config would get two hashes
    own: Pairs = (("Cache-Control", "no-store"),)
    if status not in _NO_BODY:
        own = (("Content-Type", content_type), *own)
    return own + tuple(sorted(given.items()))
