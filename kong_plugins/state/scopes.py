"""What a forced fallback or breaker is about: a tenant, a service or a route, by name; or everything."""

from __future__ import annotations

ALL = "*"
_KINDS = ("tenant", "service", "route")
_MAX_NAME = 256


def parse_scope(text: str, allow_all: bool = False) -> str:
    """The record key ("service checkout", "*") of `KIND:NAME` as an operator writes it. Raises ValueError."""
    if allow_all and text == ALL:
        return ALL
    kind, colon, name = text.partition(":")
    if not colon or kind not in _KINDS:
        kinds = ", ".join(f"{known}:NAME" for known in _KINDS)
        raise ValueError(f"{text!r}: write {kinds}" + (" or *" if allow_all else ""))
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(f"{text!r}: a name is 1 to {_MAX_NAME} printable characters")
    return f"{kind} {name}"


def split_scope(key: str) -> tuple[str, str]:
    """(kind, name) of a record key; ("*", "") for everything. Raises ValueError."""
    if key == ALL:
        return ALL, ""
    kind, _, name = key.partition(" ")
    parse_scope(f"{kind}:{name}")
    return kind, name


def scope_text(key: str) -> str:
    """The key as an operator writes it."""
    return key.replace(" ", ":", 1)
