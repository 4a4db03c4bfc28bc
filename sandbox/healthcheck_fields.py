"""The `healthchecks` record of an upstream, with Kong's defaults at every level."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
_COUNT = {"type": "integer", "between": [0, 255], "default": 0}
_SECONDS = {"type": "number", "between": [0, 65535]}
_TYPE = {
    "type": "string",
    "len_min": 1,
    "one_of": ["tcp", "http", "https", "grpc", "grpcs"],
    "default": "http",
}


def _statuses(*codes: int) -> Schema:
    element = {"type": "integer", "between": [100, 999]}
    return {"type": "array", "elements": element, "default": list(codes)}


def _record(*fields: Schema) -> Schema:
    return {"type": "record", "required": True, "default": {}, "fields": list(fields)}


_FAILURES: list[Schema] = [{"tcp_failures": _COUNT}, {"timeouts": _COUNT}, {"http_failures": _COUNT}]
_STRINGS = {"type": "array", "elements": {"type": "string"}, "required": True}
_INTERVAL = {**_SECONDS, "default": 0}

HEALTHCHECKS = _record(
    {
        "active": _record(
            {"type": _TYPE},
            {"timeout": {**_SECONDS, "default": 1}},
            {"concurrency": {"type": "integer", "between": [1, 2147483648], "default": 10}},
            {"http_path": {"type": "string", "len_min": 1, "starts_with": "/", "default": "/"}},
            {"https_sni": {"type": "string", "len_min": 1}},
            {"https_verify_certificate": {"type": "boolean", "required": True, "default": True}},
            {"headers": {"type": "map", "keys": {"type": "string", "len_min": 1}, "values": _STRINGS}},
            {
                "healthy": _record(
                    {"interval": _INTERVAL}, {"http_statuses": _statuses(200, 302)}, {"successes": _COUNT}
                )
            },
            {
                "unhealthy": _record(
                    {"interval": _INTERVAL},
                    {"http_statuses": _statuses(429, 404, 500, 501, 502, 503, 504, 505)},
                    *_FAILURES,
                )
            },
        )
    },
    {
        "passive": _record(
            {"type": _TYPE},
            {
                "healthy": _record(
                    {"http_statuses": _statuses(*range(200, 209), 226, *range(300, 309))},
                    {"successes": _COUNT},
                )
            },
            {"unhealthy": _record({"http_statuses": _statuses(429, 500, 503)}, *_FAILURES)},
        )
    },
    {"threshold": {"type": "number", "between": [0, 100], "default": 0}},
)
