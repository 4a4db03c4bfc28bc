"""Fields of services, routes, upstreams, targets, consumers and plugins, in the form that fields.py checks."""

from __future__ import annotations

from typing import Any

from decl.kong import values as field_checks
from sandbox.healthcheck_fields import HEALTHCHECKS

Schema = dict[str, Any]
PROTOCOLS = ["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"]
_TIMEOUT = {"type": "integer", "default": 60000, "between": [1, 2147483646]}
_HASH = ["none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"]


def text(**more: Any) -> Schema:
    """A string that is not empty."""
    return {"type": "string", "len_min": 1, **more}


def foreign(kind: str, **more: Any) -> Schema:
    """A reference to another entity."""
    return {"type": "foreign", "reference": kind, **more}


def head(*without: str) -> list[Schema]:
    """The fields that (nearly) all entities have."""
    fields: list[Schema] = [
        {"id": text(uuid=True, auto=True)},
        {"created_at": {"type": "integer", "timestamp": True, "auto": True}},
        {"updated_at": {"type": "integer", "timestamp": True, "auto": True}},
        {"tags": {"type": "set", "elements": text(required=True, custom_validator=field_checks.tag)}},
    ]
    return [field for field in fields if not set(field) & set(without)]


_ADDRESSES = {
    "type": "set",
    "elements": {
        "type": "record",
        "fields": [{"ip": {"type": "string"}}, {"port": {"type": "integer", "between": [0, 65535]}}],
    },
}
_NO_HOST = "cannot contain 'host' header, which must be specified in the 'hosts' attribute"
_EMPTY_SEGMENT = [{"pattern": "//", "err": "must not have empty segments"}]

SERVICES: list[Schema] = [
    *head(),
    {"name": text(unique=True, custom_validator=field_checks.name)},
    {"enabled": {"type": "boolean", "required": True, "default": True}},
    {"retries": {"type": "integer", "default": 5, "between": [0, 32767]}},
    {"protocol": text(required=True, default="http", one_of=PROTOCOLS)},
    {"host": text(required=True, custom_validator=field_checks.host)},
    {"port": {"type": "integer", "required": True, "default": 80, "between": [0, 65535]}},
    {"path": text(starts_with="/", match_none=_EMPTY_SEGMENT, custom_validator=field_checks.service_path)},
    {"connect_timeout": _TIMEOUT},
    {"write_timeout": _TIMEOUT},
    {"read_timeout": _TIMEOUT},
    {"client_certificate": foreign("certificates")},
    {"tls_verify": {"type": "boolean"}},
    {"tls_verify_depth": {"type": "integer", "between": [0, 64]}},
    {"ca_certificates": {"type": "array", "elements": text(uuid=True)}},
]
ROUTES: list[Schema] = [
    *head(),
    {"name": text(unique=True, custom_validator=field_checks.name)},
    {
        "protocols": {
            "type": "set",
            "required": True,
            "len_min": 1,
            "elements": text(required=True, one_of=PROTOCOLS),
            "mutually_exclusive_subsets": [
                ["http", "https"],
                ["tcp", "tls", "udp"],
                ["tls_passthrough"],
                ["grpc", "grpcs"],
            ],
            "default": ["http", "https"],
        }
    },
    {"methods": {"type": "set", "elements": text(required=True, match="^%u+$")}},
    {"hosts": {"type": "array", "elements": text(required=True, custom_validator=field_checks.route_host)}},
    {"paths": {"type": "array", "elements": text(required=True, custom_validator=field_checks.route_path)}},
    {
        "headers": {
            "type": "map",
            "keys": text(
                required=True,
                match_none=[{"pattern": "^[Hh][Oo][Ss][Tt]$", "err": _NO_HOST}],
                custom_validator=field_checks.header_name,
            ),
            "values": {"type": "array", "required": True, "elements": text(required=True)},
        }
    },
    {"snis": {"type": "set", "elements": text(required=True, custom_validator=field_checks.sni)}},
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
    {"path_handling": text(default="v0", one_of=["v0", "v1"])},
    {"preserve_host": {"type": "boolean", "required": True, "default": False}},
    {"request_buffering": {"type": "boolean", "required": True, "default": True}},
    {"response_buffering": {"type": "boolean", "required": True, "default": True}},
    {"service": foreign("services")},
]
UPSTREAMS: list[Schema] = [
    *head(),
    {"name": text(required=True, unique=True, custom_validator=field_checks.upstream_name)},
    {
        "algorithm": text(
            default="round-robin",
            one_of=["consistent-hashing", "least-connections", "round-robin", "latency"],
        )
    },
    {"hash_on": text(default="none", one_of=_HASH)},
    {"hash_fallback": text(default="none", one_of=_HASH)},
    {"hash_on_header": text(custom_validator=field_checks.header_name)},
    {"hash_fallback_header": text(custom_validator=field_checks.header_name)},
    {"hash_on_cookie": text(custom_validator=field_checks.cookie_name)},
    {"hash_on_cookie_path": text(default="/", starts_with="/", match_none=_EMPTY_SEGMENT)},
    {"hash_on_query_arg": text()},
    {"hash_fallback_query_arg": text()},
    {"hash_on_uri_capture": text()},
    {"hash_fallback_uri_capture": text()},
    {"slots": {"type": "integer", "default": 10000, "between": [10, 65536]}},
    {"healthchecks": HEALTHCHECKS},
    {"host_header": text(custom_validator=field_checks.host_and_port)},
    {"client_certificate": foreign("certificates")},
    {"use_srv_name": {"type": "boolean", "default": False}},
]
TARGETS: list[Schema] = [
    *head(),
    {"upstream": foreign("upstreams", required=True, on_delete="cascade")},
    {"target": text(required=True, custom_validator=field_checks.target)},
    {"weight": {"type": "integer", "default": 100, "between": [0, 65535]}},
]
CONSUMERS: list[Schema] = [*head(), {"username": text(unique=True)}, {"custom_id": text(unique=True)}]
PLUGINS: list[Schema] = [
    *head(),
    {"name": text(required=True)},
    {"instance_name": text(unique=True, custom_validator=field_checks.name)},
    {"route": foreign("routes", on_delete="cascade")},
    {"service": foreign("services", on_delete="cascade")},
    {"consumer": foreign("consumers", on_delete="cascade")},
    {"config": {"type": "record", "abstract": True}},
    {
        "protocols": {
            "type": "set",
            "required": True,
            "elements": {"type": "string", "one_of": PROTOCOLS},
            "default": ["grpc", "grpcs", "http", "https"],
        }
    },
    {"enabled": {"type": "boolean", "required": True, "default": True}},
]
