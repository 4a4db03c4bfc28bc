"""What Kong's own checks refuse of an entity whose fields have the right types (`decl.kong`, in Kong's words).

The checks see an entity as Kong would: with the file's defaults, with a service's `url` taken apart, with old
paths as render writes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from decl.build import with_tilde
from decl.file_kinds import SINGULAR
from decl.findings import Path, Problem
from decl.kong import entities as kong
from decl.kong import pems, values
from decl.late import is_marked
from decl.url import parse_url
from decl.walk import Entity

RULE = "kong-check"

Check = Callable[[str], str | None]
_OLD = ("1.1", "2.1")
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "services": {"protocol": "http"},
    "routes": {"protocols": ["http", "https"]},
    "upstreams": {"hash_on": "none", "hash_fallback": "none", "algorithm": "round-robin"},
    "jwt_secrets": {"algorithm": "HS256"},
}
_TOGETHER = (
    frozenset(("http", "https")),
    frozenset(("tcp", "tls", "udp")),
    frozenset(("tls_passthrough",)),
    frozenset(("grpc", "grpcs")),
)
"""The protocols that one route may have together (kong/db/schema/entities/routes.lua)."""


def check_kong_entities(document: Mapping[str, Any], entities: Iterable[Entity]) -> Iterator[Problem]:
    """What Kong would refuse. Values of wrong types are passed over: the schema has told them."""
    info = document.get("_info")
    given = info.get("defaults") if isinstance(info, dict) else None
    defaults = given if isinstance(given, dict) else {}
    old = document.get("_format_version") in _OLD
    for entity in entities:
        fields = _FIELDS.get(entity.kind)
        if entity.kind in pems.KINDS:
            for place, why in pems.check(entity.kind, entity.values, _is_known):
                yield Problem((*entity.path, *place), RULE, f"{'.'.join(place)}: {why}")
        if fields is None and entity.kind not in _WHOLE:
            continue
        more = defaults.get(SINGULAR[entity.kind])
        held = {**more, **entity.values} if isinstance(more, dict) else entity.values
        problems = [*_single(entity, held, fields or {}, old)]
        yield from problems
        if entity.kind in _WHOLE and not problems:
            yield from _whole(entity, held)


def _is_known(value: Any) -> bool:
    """Whether a value is there, and not read late."""
    return value is not None and not is_marked(value)


def _single(
    entity: Entity, held: Mapping[str, Any], fields: Mapping[str, Check], old: bool
) -> Iterator[Problem]:
    """Field by field; a list's items one by one."""
    for field, check in fields.items():
        value = held.get(field)
        if value.__class__ is list:
            for index, item in enumerate(value):
                if old and field == "paths" and isinstance(item, str):
                    item = with_tilde(item)
                yield from _value(check, item, (*entity.path, field, index), f"{field}[{index}]")
        else:
            yield from _value(check, value, (*entity.path, field), field)
    if entity.kind == "upstreams":
        yield from _active(held, entity.path)
    elif entity.kind == "routes":
        yield from _addresses(held, entity.path)
        yield from _headers(held.get("headers"), (*entity.path, "headers"))
    elif entity.kind == "services" and isinstance(held.get("url"), str):
        yield from _url(held["url"], (*entity.path, "url"))
    elif entity.kind == "vaults" and held.get("name") == "env":
        yield from _env_vault(held.get("config"), (*entity.path, "config"))


def _value(check: Check, value: Any, path: Path, name: str) -> Iterator[Problem]:
    if isinstance(value, str) and (why := check(value)):
        yield Problem(path, RULE, f"{name}: {why}")


def _active(held: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    checks = held.get("healthchecks")
    active = checks.get("active") if isinstance(checks, dict) else None
    if isinstance(active, dict):
        at = (*path, "healthchecks", "active")
        yield from _value(values.sni, active.get("https_sni"), (*at, "https_sni"), "https_sni")
        headers = active.get("headers")
        for name in headers if isinstance(headers, dict) else ():
            if why := values.header_name(name):
                yield Problem((*at, "headers", name), RULE, f"headers: {why}", at_key=True)


def _addresses(held: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    for field in ("sources", "destinations"):
        listed = held.get(field)
        for index, item in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(item, dict):
                yield from _value(values.address, item.get("ip"), (*path, field, index, "ip"), "ip")


def _headers(headers: Any, path: Path) -> Iterator[Problem]:
    for name, texts in headers.items() if isinstance(headers, dict) else ():
        at = (*path, name)
        if why := values.header_name(name):
            yield Problem(at, RULE, f"headers: {why}", at_key=True)
        elif name.lower() == "host":
            yield Problem(at, RULE, "headers: write host names in hosts, not as a header", at_key=True)
        elif texts == []:
            yield Problem(at, RULE, f"headers: {name} needs a value")


def _env_vault(config: Any, path: Path) -> Iterator[Problem]:
    """The one vault that comes with Kong (kong/vaults/env/schema.lua)."""
    for name, value in config.items() if isinstance(config, dict) else ():
        if name != "prefix":
            yield Problem(
                (*path, name), RULE, f"config: unknown field {name!r}; vault env has prefix", at_key=True
            )
        elif isinstance(value, str) and not re.fullmatch(r"[A-Za-z_-][A-Za-z0-9_-]*", value):
            yield Problem((*path, name), RULE, f"config.prefix: invalid value: {value}")


def _url(url: str, path: Path) -> Iterator[Problem]:
    try:
        parts = parse_url(url)
    except ValueError:
        return  # told by check_services
    for field, check, value in (("host", values.host, parts.host), ("path", _service_path, parts.path or "")):
        if why := check(value):
            yield Problem(path, RULE, f"url: {field}: {why}")


def _whole(entity: Entity, held: Mapping[str, Any]) -> Iterator[Problem]:
    """The checks over several fields."""
    seen = {**_DEFAULTS.get(entity.kind, {}), **held}
    if entity.kind == "services" and isinstance(held.get("url"), str):
        try:
            parts = parse_url(held["url"])
        except ValueError:
            return
        seen |= {"protocol": parts.protocol, "path": parts.path}
    elif entity.kind == "upstreams" and seen["algorithm"] in ("least-connections", "latency"):
        seen["hash_on"] = "none"  # before it looks at anything else (kong/db/schema/entities/upstreams.lua)
    elif entity.kind == "routes":
        protocols = seen["protocols"]
        if not isinstance(protocols, list) or not all(isinstance(name, str) for name in protocols):
            return
        if protocols and not any(set(protocols) <= group for group in _TOGETHER):
            message = f"protocols: {', '.join(protocols)} cannot be of one route"
            yield Problem((*entity.path, "protocols"), RULE, message)
            return
    found: dict[str, Any] = {}
    kong.check(entity.kind, {**seen}, found)
    context = "".join(f", {text}" for text in found.get("@entity", ())[:1] if text.startswith("failed"))
    for field, why in found.items():
        if field != "@entity" and not is_marked(held.get(field)):
            where = field if field in entity.values else "url"
            at = (*entity.path, where) if where in entity.values else entity.path
            yield Problem(at, RULE, f"{field}: {why}{context}")
    if set(found) == {"@entity"} and entity.kind != "routes":  # of routes decl.validate.routes tells the rest
        yield Problem(entity.path, RULE, found["@entity"][0])


def _service_path(value: str) -> str | None:
    return "must not have empty segments" if "//" in value else values.service_path(value)


def _cookie_path(value: str) -> str | None:
    return "must not have empty segments" if "//" in value else None


_FIELDS: Mapping[str, Mapping[str, Check]] = {
    "services": {"name": values.name, "host": cache(values.host), "path": _service_path},
    "routes": {
        "name": values.name,
        "hosts": cache(values.route_host),
        "paths": cache(values.route_path),
        "snis": values.sni,
    },
    "upstreams": {
        "name": values.upstream_name,
        "hash_on_header": values.header_name,
        "hash_fallback_header": values.header_name,
        "hash_on_cookie": values.cookie_name,
        "hash_on_cookie_path": _cookie_path,
        "host_header": values.host_and_port,
    },
    "targets": {"target": cache(values.target)},
    "snis": {"name": values.sni},
    "oauth2_credentials": {"redirect_uris": values.redirect_uri},
    "vaults": {"prefix": lambda value: "must not be one of: env" if value == "env" else None},
    "tenants": {"hosts": cache(values.route_host)},
    "plugins": {"instance_name": values.name},
}
_WHOLE = frozenset(("services", "routes", "upstreams", "consumers", "jwt_secrets", "keys"))
