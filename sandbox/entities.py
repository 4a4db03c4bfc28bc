"""Schemas of the core entities, in the form that fields.py checks: the fields that Kong 3.9 has."""

from __future__ import annotations

import re
from typing import Any

from sandbox.router import path_pattern

Schema = dict[str, Any]
_PROTOCOLS = ["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"]
_TIMEOUT = {"type": "integer", "default": 60000, "between": [1, 2147483646]}


def _name(value: str) -> str | None:
    if re.fullmatch(r"[\w.\-~]+", value):
        return None
    return f"invalid value '{value}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"


def _route_path(value: str) -> str | None:
    if value.startswith("~/"):
        try:
            re.compile(path_pattern(value))
        except re.error as e:
            return f"invalid regex: '{value[1:]}' ({e})"
        return None
    if not value.startswith("/"):
        return "should start with: / (fixed path) or ~/ (regex path)"
    bad = re.search(r"%(?![0-9A-Fa-f]{2})(..?)?", value)
    return f"invalid url-encoded value: '{bad[0]}'" if bad else None


def _target(value: str) -> str | None:
    if re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.\-]+)(:\d{1,5})?", value):
        return None
    return f"Invalid target ('{value}'); not a valid hostname or ip address"


def _foreign(kind: str, required: bool = False) -> Schema:
    return {"type": "foreign", "reference": kind, "required": required}


_HEAD: list[Schema] = [
    {"id": {"type": "string", "uuid": True, "auto": True}},
    {"created_at": {"type": "number", "auto": True}},
    {"updated_at": {"type": "number", "auto": True}},
    {"tags": {"type": "set", "elements": {"type": "string", "required": True, "len_min": 1}}},
]
_STRINGS = {"type": "set", "elements": {"type": "string"}}
_ADDRESSES = {"type": "set", "elements": {"type": "record"}}

FIELDS: dict[str, list[Schema]] = {
    "services": [
        *_HEAD,
        {"name": {"type": "string", "custom_validator": _name}},
        {"retries": {"type": "integer", "default": 5, "between": [0, 32767]}},
        {"protocol": {"type": "string", "required": True, "default": "http", "one_of": _PROTOCOLS}},
        {"host": {"type": "string", "required": True, "len_min": 1}},
        {"port": {"type": "integer", "required": True, "default": 80, "between": [0, 65535]}},
        {
            "path": {
                "type": "string",
                "starts_with": "/",
                "match_none": [{"pattern": "//", "err": "must not have empty segments"}],
            }
        },
        {"connect_timeout": _TIMEOUT},
        {"write_timeout": _TIMEOUT},
        {"read_timeout": _TIMEOUT},
        {"client_certificate": _foreign("certificates")},
        {"tls_verify": {"type": "boolean"}},
        {"tls_verify_depth": {"type": "integer", "between": [0, 64]}},
        {"ca_certificates": {"type": "array", "elements": {"type": "string", "uuid": True}}},
        {"enabled": {"type": "boolean", "required": True, "default": True}},
    ],
    "routes": [
        *_HEAD,
        {"name": {"type": "string", "custom_validator": _name}},
        {
            "protocols": {
                "type": "set",
                "required": True,
                "len_min": 1,
                "elements": {"type": "string", "one_of": _PROTOCOLS},
                "default": ["http", "https"],
            }
        },
        {"methods": {"type": "set", "elements": {"type": "string", "match": "^[A-Z]+$"}}},
        {"hosts": _STRINGS},
        {"paths": {"type": "array", "elements": {"type": "string", "custom_validator": _route_path}}},
        {
            "headers": {
                "type": "map",
                "keys": {"type": "string"},
                "values": {"type": "array", "elements": {"type": "string"}},
            }
        },
        {"snis": _STRINGS},
        {"sources": _ADDRESSES},
        {"destinations": _ADDRESSES},
        {
            "https_redirect_status_code": {
                "type": "integer",
                "required": True,
                "default": 426,
                "one_of": [426, 301, 302, 307, 308],
            }
        },
        {"regex_priority": {"type": "integer", "default": 0}},
        {"strip_path": {"type": "boolean", "required": True, "default": True}},
        {"path_handling": {"type": "string", "default": "v0", "one_of": ["v0", "v1"]}},
        {"preserve_host": {"type": "boolean", "required": True, "default": False}},
        {"request_buffering": {"type": "boolean", "required": True, "default": True}},
        {"response_buffering": {"type": "boolean", "required": True, "default": True}},
        {"service": _foreign("services")},
    ],
    "upstreams": [
        *_HEAD,
        {"name": {"type": "string", "required": True}},
        {
            "algorithm": {
                "type": "string",
                "default": "round-robin",
                "one_of": ["consistent-hashing", "least-connections", "round-robin", "latency"],
            }
        },
        {"hash_on": {"type": "string", "default": "none"}},
        {"hash_fallback": {"type": "string", "default": "none"}},
        {"hash_on_header": {"type": "string"}},
        {"hash_fallback_header": {"type": "string"}},
        {"hash_on_cookie": {"type": "string"}},
        {"hash_on_cookie_path": {"type": "string", "default": "/"}},
        {"hash_on_query_arg": {"type": "string"}},
        {"hash_fallback_query_arg": {"type": "string"}},
        {"hash_on_uri_capture": {"type": "string"}},
        {"hash_fallback_uri_capture": {"type": "string"}},
        {"slots": {"type": "integer", "default": 10000, "between": [10, 65536]}},
        {"healthchecks": {"type": "record"}},
        {"host_header": {"type": "string"}},
        {"client_certificate": _foreign("certificates")},
        {"use_srv_name": {"type": "boolean", "default": False}},
    ],
    "targets": [
        *_HEAD,
        {"upstream": _foreign("upstreams", required=True)},
        {"target": {"type": "string", "required": True, "custom_validator": _target}},
        {"weight": {"type": "integer", "default": 100, "between": [0, 65535]}},
    ],
    "consumers": [*_HEAD, {"username": {"type": "string"}}, {"custom_id": {"type": "string"}}],
    "keyauth_credentials": [
        *_HEAD,
        {"consumer": _foreign("consumers", required=True)},
        {"key": {"type": "string", "required": True}},
        {"ttl": {"type": "integer"}},
    ],
    "plugins": [
        *_HEAD,
        {"name": {"type": "string", "required": True}},
        {"instance_name": {"type": "string"}},
        {"route": _foreign("routes")},
        {"service": _foreign("services")},
        {"consumer": _foreign("consumers")},
        {"config": {"type": "record", "abstract": True}},
        {
            "protocols": {
                "type": "set",
                "required": True,
                "elements": {"type": "string", "one_of": _PROTOCOLS},
                "default": ["grpc", "grpcs", "http", "https"],
            }
        },
        {"enabled": {"type": "boolean", "required": True, "default": True}},
    ],
}
# entity -> {nested list: (entity of its items, the foreign key that nesting sets)}
CHILDREN: dict[str, dict[str, tuple[str, str]]] = {
    "services": {"routes": ("routes", "service"), "plugins": ("plugins", "service")},
    "routes": {"plugins": ("plugins", "route")},
    "upstreams": {"targets": ("targets", "upstream")},
    "consumers": {
        "plugins": ("plugins", "consumer"),
        "keyauth_credentials": ("keyauth_credentials", "consumer"),
    },
}
UNIQUE = {
    "services": "name",
    "routes": "name",
    "upstreams": "name",
    "consumers": "username",
    "keyauth_credentials": "key",
    "plugins": "instance_name",
}
SINGULAR = {
    "services": "service",
    "routes": "route",
    "upstreams": "upstream",
    "targets": "target",
    "consumers": "consumer",
    "keyauth_credentials": "keyauth_credential",
    "plugins": "plugin",
}


def cross_checks(kind: str, item: dict[str, Any]) -> str | None:
    """Checks over several fields of one entity; the text of the first that fails."""
    if kind == "routes":
        protocols = item.get("protocols") or []
        if not any(item.get(f) for f in ("methods", "hosts", "headers", "paths", "snis")):
            last = "https" if "https" in protocols else (protocols[-1] if protocols else "http")
            fields = "'methods', 'hosts', 'headers', 'paths'" + (", 'snis'" if last == "https" else "")
            return f"must set one of {fields} when 'protocols' is '{last}'"
    if kind == "consumers" and not (item.get("username") or item.get("custom_id")):
        return "at least one of these fields must be non-empty: 'custom_id', 'username'"
    return None
