"""Services: a `url` that no parser accepts, fields that `url` would silently overrule, issuers' keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from decl.findings import WARNING, Problem
from decl.url import parse_url
from decl.walk import Entity

_BY_URL = ("protocol", "host", "port", "path")
_KEY_SOURCES = ("jwks", "jwks_url", "key_file", "secret_file", "secret_env")


def check_services(entities: Iterable[Entity]) -> Iterator[Problem]:
    """What a schema cannot say of services and issuers."""
    for entity in entities:
        if entity.kind == "services" and "://" in (entity.text("url") or ""):
            yield from _url(entity, entity.text("url") or "")
        elif entity.kind == "issuers":
            given = [field for field in _KEY_SOURCES if field in entity.values]
            if len(given) != 1:
                found = " and ".join(given) or "none"
                message = f"one of {', '.join(_KEY_SOURCES)} must say where the keys come from, found {found}"
                yield Problem(entity.path, "wrong-value", message)


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
