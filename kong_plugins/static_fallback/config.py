"""static-fallback's config as Kong holds it.

    responses:                a list, the first answer that matches is used
      name          stands in the answer's X-Fallback header, default static
      on            when: statuses "400" to "599"; refused, reset, timeout, no_target (Kong's own failures; refused
                    stands for reset too); open (the breaker), forced (an operator)
      methods       only for these, default all; GET is for HEAD too
      paths         only for these: globs of the path, `*` without and `**` with slashes, 16 at most
      accept        only for clients that take this media type
      status        200 to 599, default 200
      headers       further headers by name
      body          text, 64 KB at most, default empty; {{request_id}}, {{retry_after}} and {{time}} are filled in,
                    here and in headers
      content_type  default text/plain; charset=utf-8
      retry_after   seconds, 0: no Retry-After; default 5 with status 503, else 0. An open breaker tells its own
      grpc_status   0 to 16, for gRPC requests in place of status and body; default 14, UNAVAILABLE
    breaker, retry_budget     see `breaker_config.py`
    fail            closed | open: what happens when there is no verdict, default closed

What a forced fallback (`kgate fallback force`) and an open breaker give at once: the answer that the operator names,
else the first with the token, else the first for 503, else the first; always one that matches the request.

How the YAML file may write it is in `source.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kong_plugins.engine import fields
from kong_plugins.engine.lasting import lasting
from kong_plugins.engine.verdict import Pairs, Verdict
from kong_plugins.static_fallback import breaker_config, prepared
from kong_plugins.static_fallback.choice import PLACEHOLDER, PLACEHOLDERS
from kong_plugins.static_fallback.source import SOURCE_SCHEMA, TEXT_TYPE, to_kong

__all__ = ["SCHEMA", "SOURCE_SCHEMA", "Config", "parse", "to_kong"]

MAX_BODY_BYTES = 65_536
"""The adapter keeps the answers in every worker's memory."""
MAX_ANSWERS = 32
MAX_PATHS = 16
MAX_WILDCARDS = 4
"""Of one path: each one more may make the search longer by the path's length."""
WORDS = ("refused", "reset", "timeout", "no_target", "open", "forced")
RETRY_AFTER = 5
"""Seconds, of answers with status 503."""

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
                    {"methods": {"type": "array", "elements": _TEXT}},
                    {"paths": {"type": "array", "elements": _TEXT, "len_max": MAX_PATHS}},
                    {"accept": _TEXT},
                    {"retry_after": {"type": "integer", "between": [0, 86_400]}},
                    {"grpc_status": {"type": "integer", "between": [0, 16]}},
                ],
            },
        }
    },
    *breaker_config.SCHEMA,
]
"""Kong schema fields of the plugin's config."""

_STATUS = re.compile(r"[45][0-9][0-9]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METHOD = re.compile(r"[A-Z]{1,32}")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
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
        "retry-after",
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
    """`plan` is what the adapter gets, `verdict` names it. watch: the breaker and the retry budget."""

    fail: str
    plan: prepared.PreparedPlan
    verdict: Verdict
    watch: breaker_config.Watch | None = None


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
            earlier = taken.get(token, number)
            if earlier != number:
                raise ValueError(f"responses[{number}].on: responses[{earlier}] answers {token!r} already")
            if not answer.is_conditional:
                taken[token] = number
        answers.append(answer)
    plan = prepared.plan(tuple(answers))
    watch = breaker_config.parse(raw)
    memo = "" if watch is None else f"b={watch.id}"
    return Config(fields.fail_policy(raw), plan, lasting(Verdict(prepared=plan.hash, memo=memo)), watch)


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
    headers = _headers(response, status)
    return prepared.PreparedAnswer(
        name,
        _tokens(response),
        status,
        headers,
        body,
        _methods(response),
        _paths(response),
        _accept(response),
        _whole(response, "retry_after", 86_400, RETRY_AFTER if status == 503 else 0),
        _whole(response, "grpc_status", 16, 14),
        _placeholders("body", body) | _in_headers(headers),
    )


def _whole(response: Mapping[str, Any], field: str, high: int, default: int) -> int:
    value = fields.number(response, field, 0, high, default)
    if value != int(value):
        raise ValueError(f"{field}: expected a whole number")
    return int(value)


def _placeholders(field: str, text: str) -> bool:
    found = PLACEHOLDER.findall(text)
    for name in found:
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{{{each}}}}}" for each in PLACEHOLDERS)
            raise ValueError(f"{field}: placeholder {name!r} is not one of {known}")
    return bool(found)


def _in_headers(headers: Pairs) -> bool:
    found = [_placeholders("headers", value) for _, value in headers]  # all of them: each may be wrong
    return True in found


def _methods(response: Mapping[str, Any]) -> tuple[str, ...]:
    methods = fields.texts(response, "methods")
    for number, method in enumerate(methods):
        if not _METHOD.fullmatch(method):
            raise ValueError(f"methods[{number}]: {method!r} is not a method in capitals")
    return methods


def _paths(response: Mapping[str, Any]) -> tuple[str, ...]:
    paths = fields.texts(response, "paths")
    if len(paths) > MAX_PATHS:
        raise ValueError(f"paths: {len(paths)} paths, {MAX_PATHS} are allowed")
    for number, path in enumerate(paths):
        if not path.startswith(("/", "*")) or len(path) > 256 or not path.isascii() or not path.isprintable():
            raise ValueError(f"paths[{number}]: {path!r} is not a path of at most 256 ASCII characters")
        if path.replace("**", "*").count("*") > MAX_WILDCARDS:
            raise ValueError(f"paths[{number}]: more than {MAX_WILDCARDS} wildcards")
    return paths


def _accept(response: Mapping[str, Any]) -> str:
    accept = fields.text(response, "accept", "").lower()
    if accept and not _MEDIA_TYPE.fullmatch(accept):
        raise ValueError(f"accept: {accept!r} is not a media type such as application/json")
    return accept


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
