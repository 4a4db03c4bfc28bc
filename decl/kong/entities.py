"""Checks over several fields of one entity, in Kong's words. `@entity` holds texts that belong to no field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from decl.kong import expressions

Entity = dict[str, Any]
Found = dict[str, Any]
STREAM = {"tcp", "tls", "udp", "tls_passthrough"}
"""The protocols without HTTP."""

_TLS = {"https", "grpcs", "tls", "tls_passthrough"}
WITH_KEY = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
"""The algorithms of tokens for which Kong looks at `rsa_public_key`."""

_TYPES = ("http", "https", "tcp", "tls", "udp", "tls_passthrough", "grpc", "grpcs")


def check(kind: str, entity: Entity, errors: Found) -> None:
    """Adds to `errors`, which holds those of the single fields; Kong runs these checks over bad values too."""
    for each in _CHECKS.get(kind, ()):
        for key, error in each(entity, errors).items():
            if key == "@entity":
                errors.setdefault("@entity", []).extend(error)
            else:
                errors[key] = error


def route_protocols(route: Entity) -> str | None:
    """What no route can have for its protocols; Kong finds it before it looks at any other field."""
    if "protocols" in route and route["protocols"] is None:
        return "required field missing"
    value = route.get("protocols")
    if value == []:
        return "unknown type: nil"
    if isinstance(value, str) and value not in _TYPES:
        return f"unknown type: {value}"
    unknown = [p for p in value if isinstance(p, str) and p not in _TYPES] if isinstance(value, list) else []
    return f"unknown type: {unknown[0]}" if unknown else None


def one_of(protocols: set[str]) -> tuple[str, ...]:
    """The fields of which a route with these protocols must have one."""
    return next((fields for those, fields, _ in _ONE_OF if protocols & those), ())


def shorthands(kind: str, body: Entity) -> Found:
    """Errors of the fields that stand for others; nothing else is looked at when there are any."""
    found: Found = {}
    for field in {"services": ("url",), "upstreams": ("algorithm", "hash_on")}.get(kind, ()):
        value = body.get(field)
        if value is not None and not isinstance(value, str):
            found[field] = "expected a string"
        elif value == "":
            found[field] = "length must be at least 1"
    return found


def _both(found: list[Found]) -> Found:
    out: Found = {}
    for each in found:
        texts = out.get("@entity", []) + each.get("@entity", [])
        out |= {**each, "@entity": texts} if texts else each
    return out


def _conditional(entity: Entity, given: str, values: set[str], then: str) -> Found:
    value = entity.get(given)  # a null is taken for any value
    if not (value is None or (isinstance(value, str) and value in values)) or entity.get(then) is not None:
        return {}
    return {"@entity": [_given(given)], then: "required field missing"}


def _given(field: str) -> str:
    return f"failed conditional validation given value of field '{field}'"


def _service(entity: Entity, errors: Found) -> Found:
    protocol = entity.get("protocol")
    if protocol is None or "protocol" in errors:
        return {}
    must_not = ["path"] if protocol in ("tcp", "tls", "udp", "grpc", "grpcs") else []
    if protocol not in ("https", "tls"):
        must_not += _TLS_FIELDS
    found = [field for field in must_not if entity.get(field) is not None]
    return _both([{"@entity": [_given("protocol")], field: "value must be null"} for field in found])


def _route(entity: Entity, errors: Found) -> Found:
    protocols = entity.get("protocols")
    if not isinstance(protocols, list) or not protocols:
        return {}
    found: Found = {}
    fields, what = _SUBSCHEMAS.get(protocols[0], ((), ""))
    for field in fields:
        if entity.get(field) is not None and (field != "strip_path" or entity[field] is True):
            found[field] = f"cannot set '{field}' when 'protocols' is {what}"
    if "protocols" in errors:
        return found
    texts = []
    if entity.get("snis") and not set(protocols) & _TLS:
        texts.append(
            "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"
        )
        found["snis"] = errors.get("snis") or "length must be 0"
    for those, wanted, text in _ONE_OF:
        if set(protocols) & those:
            if not any(entity.get(field) not in (None, "", [], {}) for field in wanted):
                names = ", ".join(f"'{field}'" for field in wanted)
                texts.append(text.format(names))
            break
    if not errors and not found and not texts and not set(protocols) & STREAM:
        texts += [why for why in (expressions.refused(entity),) if why]
    return {**found, "@entity": texts} if texts else found


def _consumer(entity: Entity, errors: Found) -> Found:
    if entity.get("username") or entity.get("custom_id"):
        return {}
    return {"@entity": ["at least one of these fields must be non-empty: 'custom_id', 'username'"]}


def _upstream(entity: Entity, errors: Found) -> Found:
    """In Kong's order: what a kind of hash needs, then which fallbacks it may have, then what must differ."""
    on, fallback = entity.get("hash_on"), entity.get("hash_fallback")
    found = [_conditional(entity, *each) for each in _HASHES[:4]]
    for value in ("none", "cookie", "consumer", "ip", "path"):
        allowed = ["none"] if value in ("none", "cookie") else [f for f in _FALLBACKS[value] if f != value]
        if on in (None, value) and fallback is not None and fallback not in allowed:
            text = f"expected one of: {', '.join(allowed)}"
            found.append({"@entity": [_given("hash_on")], "hash_fallback": text})
    found += [_conditional(entity, *each) for each in _HASHES[4:]]
    for kind in ("header", "query_arg", "uri_capture"):
        names = (f"hash_on_{kind}", f"hash_fallback_{kind}")
        if entity.get(names[0]) and entity.get(names[0]) == entity.get(names[1]):
            found.append(
                {"@entity": [f"values of these fields must be distinct: '{names[0]}', '{names[1]}'"]}
            )
    return _both(found)


def _key(entity: Entity, errors: Found) -> Found:
    given = [f for f in ("jwk", "pem") if entity.get(f)]
    if not given:
        return {"@entity": ["at least one of these fields must be non-empty: 'jwk', 'pem'"]}
    return (
        {"@entity": ["only one or none of these fields must be set: 'jwk', 'pem'"]} if len(given) > 1 else {}
    )


def _jwt(entity: Entity, errors: Found) -> Found:
    return _conditional(entity, "algorithm", WITH_KEY, "rsa_public_key")


_TLS_FIELDS = ("client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates")
_STREAM_TEXT = "'tcp', 'tls', 'tls_passthrough' or 'udp'"
_HTTP = (("sources", "destinations"), "'http' or 'https'")
_GRPC = (("strip_path", "methods", "sources", "destinations"), "'grpc' or 'grpcs'")
_SUBSCHEMAS: dict[str, tuple[tuple[str, ...], str]] = {  # by a route's first protocol: what it must not have
    **dict.fromkeys(("http", "https"), _HTTP),
    **dict.fromkeys(STREAM, (("methods", "hosts", "paths", "headers"), _STREAM_TEXT)),
    **dict.fromkeys(("grpc", "grpcs"), _GRPC),
}
_PLACES = ("hosts", "headers", "paths")
_ONE_OF: tuple[
    tuple[set[str], tuple[str, ...], str], ...
] = (  # protocols, of which fields one must be set, else
    ({"https"}, ("methods", *_PLACES, "snis"), "must set one of {} when 'protocols' is 'https'"),
    ({"http"}, ("methods", *_PLACES), "must set one of {} when 'protocols' is 'http'"),
    ({"grpcs"}, (*_PLACES, "snis"), "must set one of {} when 'protocols' is 'grpcs'"),
    ({"grpc"}, _PLACES, "must set one of {} when 'protocols' is 'grpc'"),
    (
        {"tcp", "tls", "udp"},
        ("sources", "destinations", "snis"),
        "must set one of {} when 'protocols' is 'tcp', 'tls' or 'udp'",
    ),
    ({"tls_passthrough"}, ("snis",), "must set snis when 'protocols' is 'tls_passthrough'"),
)
_HASHES = (
    ("hash_on", {"header"}, "hash_on_header"),
    ("hash_fallback", {"header"}, "hash_fallback_header"),
    ("hash_on", {"cookie"}, "hash_on_cookie"),
    ("hash_fallback", {"cookie"}, "hash_on_cookie"),
    ("hash_on", {"query_arg"}, "hash_on_query_arg"),
    ("hash_fallback", {"query_arg"}, "hash_fallback_query_arg"),
    ("hash_on", {"uri_capture"}, "hash_on_uri_capture"),
    ("hash_fallback", {"uri_capture"}, "hash_fallback_uri_capture"),
)
_FALLBACKS = {
    "consumer": ("none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"),
    "ip": ("none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"),
    "path": ("none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"),
}
_CHECKS: dict[str, tuple[Callable[[Entity, Found], Found], ...]] = {
    "services": (_service,),
    "routes": (_route,),
    "consumers": (_consumer,),
    "upstreams": (_upstream,),
    "jwt_secrets": (_jwt,),
    "keys": (_key,),
}
