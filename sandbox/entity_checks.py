"""Checks over several fields of one entity, in Kong's words. `@entity` holds texts that belong to no field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Entity = dict[str, Any]
Found = dict[str, Any]
_STREAM = {"tcp", "tls", "udp", "tls_passthrough"}
_TLS = {"https", "grpcs", "tls", "tls_passthrough"}
_WITH_KEY = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
_TYPES = ("http", "https", "tcp", "tls", "udp", "tls_passthrough", "grpc", "grpcs")


def check(kind: str, entity: Entity, errors: Found) -> None:
    """Adds to `errors`, which holds those of the single fields: a check over a field that is bad is left out."""
    for fields, each in _CHECKS.get(kind, ()):
        if any(field in errors for field in fields):
            continue
        for key, error in each(entity).items():
            if key == "@entity":
                errors.setdefault("@entity", []).extend(error)
            else:
                errors.setdefault(key, error)


def route_protocols(value: Any) -> str | None:
    """A protocol that no route can have; Kong finds it before it looks at any other field."""
    unknown = [p for p in value if isinstance(p, str) and p not in _TYPES] if isinstance(value, list) else []
    return f"unknown type: {unknown[0]}" if unknown else None


def _conditional(entity: Entity, given: str, values: set[str], then: str) -> Found:
    if entity.get(given) not in values or entity.get(then) is not None:
        return {}
    return {"@entity": [_given(given)], then: "required field missing"}


def _given(field: str) -> str:
    return f"failed conditional validation given value of field '{field}'"


def _service(entity: Entity) -> Found:
    if entity.get("protocol") in ("https", "tls"):
        return {}
    for field in _TLS_FIELDS:
        if entity.get(field) is not None:
            return {"@entity": [_given("protocol")], field: "value must be null"}
    return {}


def _route(entity: Entity) -> Found:
    protocols = entity.get("protocols") or []
    last = "https" if "https" in protocols else (protocols[-1] if protocols else "http")
    found: Found = {}
    if entity.get("snis") and not set(protocols) & _TLS:
        text = "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"
        found = {"@entity": [text], "snis": "length must be 0"}
    if set(protocols) & _STREAM:
        for field in ("paths", "methods", "headers", "hosts"):
            if entity.get(field):
                what = "'tcp', 'tls', 'tls_passthrough' or 'udp'"
                found[field] = f"cannot set '{field}' when 'protocols' is {what}"
        wanted = ("sources", "destinations", "snis")
        if not any(entity.get(f) for f in wanted):
            text = (
                "must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp'"
            )
            found.setdefault("@entity", []).append(text)
        return found
    if set(protocols) & {"grpc", "grpcs"}:
        if entity.get("strip_path"):
            found["strip_path"] = "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"
        return found
    if not any(entity.get(f) for f in ("methods", "hosts", "headers", "paths", "snis")) or found:
        fields = "'methods', 'hosts', 'headers', 'paths'" + (", 'snis'" if last == "https" else "")
        text = f"must set one of {fields} when 'protocols' is '{last}'"
        found.setdefault("@entity", []).append(text)
    return found


def _consumer(entity: Entity) -> Found:
    if entity.get("username") or entity.get("custom_id"):
        return {}
    return {"@entity": ["at least one of these fields must be non-empty: 'custom_id', 'username'"]}


def _upstream(entity: Entity) -> Found:
    on, fallback = entity.get("hash_on"), entity.get("hash_fallback")
    for given, value, then in (
        ("hash_on", "header", "hash_on_header"),
        ("hash_fallback", "header", "hash_fallback_header"),
        ("hash_on", "cookie", "hash_on_cookie"),
        ("hash_fallback", "cookie", "hash_on_cookie"),
        ("hash_on", "query_arg", "hash_on_query_arg"),
        ("hash_fallback", "query_arg", "hash_fallback_query_arg"),
        ("hash_on", "uri_capture", "hash_on_uri_capture"),
        ("hash_fallback", "uri_capture", "hash_fallback_uri_capture"),
    ):
        found = _conditional(entity, given, {value}, then)
        if found:
            return found
    if on in ("none", "cookie") and fallback not in (None, "none"):
        return {"@entity": [_given("hash_on")], "hash_fallback": "expected one of: none"}
    return {}


def _key(entity: Entity) -> Found:
    given = [f for f in ("jwk", "pem") if entity.get(f)]
    if not given:
        return {"@entity": ["at least one of these fields must be non-empty: 'jwk', 'pem'"]}
    return (
        {"@entity": ["only one or none of these fields must be set: 'jwk', 'pem'"]} if len(given) > 1 else {}
    )


def _jwt(entity: Entity) -> Found:
    return _conditional(entity, "algorithm", _WITH_KEY, "rsa_public_key")


_Check = tuple[tuple[str, ...], Callable[[Entity], Found]]
_TLS_FIELDS = ("client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates")
_ROUTE_FIELDS = ("protocols", "snis", "sources", "destinations", "methods", "hosts", "paths", "headers",
                 "regex_priority", "strip_path")  # fmt: skip
_CHECKS: dict[str, tuple[_Check, ...]] = {
    "services": (((*_TLS_FIELDS, "protocol"), _service),),
    "routes": ((_ROUTE_FIELDS, _route),),
    "consumers": ((("username", "custom_id"), _consumer),),
    "upstreams": ((("hash_on", "hash_fallback"), _upstream),),
    "jwt_secrets": ((("algorithm",), _jwt),),
    "keys": ((("jwk", "pem"), _key),),
}
