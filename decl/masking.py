"""Which values of a config are secret, and texts without them: Kong quotes values in its errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from decl import secret_fields
from decl.flatten import Flat, each
from decl.late import MASK, Secret

_SHORTEST = 4  # a shorter secret is masked where it stands alone, not within other texts


def secrets_in(flat: Flat) -> tuple[str, ...]:
    """The texts that are marked as secrets or stand in a field that holds one, the longest first."""
    found: set[str] = set()
    for kind, _, entity in each(flat):
        _collect(kind, entity, False, found)
    return tuple(sorted(found, key=len, reverse=True))


def _collect(kind: str, value: Any, secret: bool, found: set[str]) -> None:
    if isinstance(value, str):
        if (secret or value.__class__ is Secret) and len(value) >= _SHORTEST:
            found.add(str(value))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(item, bool | int | float):
                _collect(kind, item, secret or secret_fields.is_secret(kind, name), found)
    elif isinstance(value, list):
        for item in value:
            _collect(kind, item, secret, found)


def masked(value: Any, secrets: Iterable[str]) -> Any:
    """The value with every secret in its texts replaced, at any depth."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, Mapping):
        return {name: masked(item, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, secrets) for item in value]
    return value
