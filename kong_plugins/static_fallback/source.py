"""static-fallback's config as a YAML file may write it, and its translation to Kong's.

    responses:
    - {on: [502, 503, timeout], json: {items: []}}
    - {on: [refused], status: 503, text: "We are closed for a moment."}
    - {on: [504], accept: text/html, file: away.html}

`on` and the breaker's `failures` take numbers; `json` any value, `text` a text and `file` the name of a file, from
where the YAML file stands, in place of `body` and `content_type`. Kong's own form is valid as well.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import Any

from kong_plugins.static_fallback import breaker_config

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
FILE_TYPES = {".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".json": JSON_TYPE,
              ".xml": "application/xml", ".svg": "image/svg+xml"}  # fmt: skip
"""Content types of files, by how their names end; other files are plain text."""

_TOKEN: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 400, "maximum": 599},
        {"type": "string", "pattern": "^([45][0-9][0-9]|refused|reset|timeout|no_target|open|forced)$"},
    ]
}

SOURCE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["responses"],
    "properties": {
        "fail": {"enum": ["closed", "open"]},
        "responses": {
            "type": "array",
            "minItems": 1,
            "maxItems": 32,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["on"],
                "properties": {
                    "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
                    "on": {"type": "array", "minItems": 1, "items": _TOKEN},
                    "status": {"type": "integer", "minimum": 200, "maximum": 599},
                    "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                    "json": {},
                    "text": {"type": "string"},
                    "file": {"type": "string", "minLength": 1},
                    "body": {"type": "string"},
                    "content_type": {"type": "string"},
                    "methods": {"type": "array", "items": {"type": "string", "pattern": "^[A-Z]{1,32}$"}},
                    "paths": {"type": "array", "maxItems": 16, "items": {"type": "string"}},
                    "accept": {"type": "string"},
                    "retry_after": {"type": "integer", "minimum": 0, "maximum": 86_400},
                    "grpc_status": {"type": "integer", "minimum": 0, "maximum": 16},
                },
            },
        },
        **breaker_config.SOURCE_SCHEMA,
    },
}
"""JSON Schema (2020-12) of the config in the YAML file."""


def to_kong(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The config as Kong holds it. Idempotent. Raises ValueError naming the field.

    What is not this function's business (an unknown field, a wrong type) goes through unchanged, for the
    schema and the parser to refuse.
    """
    made = dict(raw)
    breaker = raw.get("breaker")
    if isinstance(breaker, Mapping) and isinstance(breaker.get("failures"), list):
        made["breaker"] = {**breaker, "failures": [_token(word) for word in breaker["failures"]]}
    responses = raw.get("responses")
    if not isinstance(responses, list):
        return made
    return {**made, "responses": [_response(response, number) for number, response in enumerate(responses)]}


def _response(response: Any, number: int) -> Any:
    if not isinstance(response, Mapping):
        return response
    where = f"responses[{number}]"
    given = [field for field in ("json", "text", "file", "body") if field in response]
    if len(given) > 1:
        raise ValueError(f"{where}: {' and '.join(given)} exclude each other")
    kong = {field: value for field, value in response.items() if field not in ("json", "text", "file")}
    on = kong.get("on")
    if isinstance(on, list):
        kong["on"] = [_token(token) for token in on]
    if "json" in response:
        kong["body"] = _compact(response["json"], where)
        kong.setdefault("content_type", JSON_TYPE)
    if "text" in response:
        kong["body"] = response["text"]
        kong.setdefault("content_type", TEXT_TYPE)
    if "file" in response:
        # by now what decl.late knows: read when the config is sent
        kong["body"] = response["file"]
        ending = posixpath.splitext(str(response["file"]).lower())[1]
        kong.setdefault("content_type", FILE_TYPES.get(ending, TEXT_TYPE))
    return kong


def _token(word: Any) -> Any:
    return str(word) if type(word) is int else word


def _compact(value: Any, where: str) -> str:
    """The shortest JSON of a value, keys sorted: the same value always has the same bytes."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}.json: {error}") from error
