"""Services: a name or an id, a `url` that no parser accepts, fields that `url` would overrule, keys of issuers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from decl.findings import WARNING, Problem
from decl.policies import health, retry
from decl.url import parse_url
from decl.walk import Entity

_BY_URL = ("protocol", "host", "port", "path")
_KEY_SOURCES = ("jwks", "jwks_url", "key_file", "secret_file", "secret_env")


def check_services(entities: Iterable[Entity]) -> Iterator[Problem]:
    """What a schema cannot say of services and issuers."""
    for entity in entities:
        if entity.kind == "services" and not ("name" in entity.values or "id" in entity.values):
            yield Problem(entity.path, "missing-field", "one of name, id is needed")
        if entity.kind == "services" and "://" in (entity.text("url") or ""):
            yield from _url(entity, entity.text("url") or "")
        if entity.kind == "services" and isinstance(entity.values.get("retry"), dict):
            yield from _block(entity, "retry")
        elif entity.kind == "upstreams" and isinstance(entity.values.get("health"), dict):
            yield from _block(entity, "health")
        elif entity.kind == "issuers":
            given = [field for field in _KEY_SOURCES if field in entity.values]
            if len(given) != 1:
                found = " and ".join(given) or "none"
                message = f"one of {', '.join(_KEY_SOURCES)} must say where the keys come from, found {found}"
                yield Problem(entity.path, "wrong-value", message)


def _block(entity: Entity, name: str) -> Iterator[Problem]:
    """A policy block that has no form of Kong's."""
    values = entity.values
    try:
        if name == "retry":
            retry.fields(values["retry"], values)
        elif "healthchecks" in values:
            raise ValueError("health: healthchecks is set too; keep one of the two")
        else:
            health.healthchecks(values["health"])
    except (TypeError, ValueError) as error:
        yield Problem((*entity.path, name), "wrong-value", str(error))


def _url(entity: Entity, url: str) -> Iterator[Problem]:
    path = (*entity.path, "url")
    try:
        parse_url(url)
    except ValueError as error:
        yield Problem(path, "wrong-value", f"not a URL: {error}")
    for field in _BY_URL:
        if field in entity.values:
            message = f"{field} has no effect, url sets it"
            yield Problem((*entity.path, field), "wrong-value", message, WARNING, first=path)
