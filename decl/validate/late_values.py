"""Where a secret may stand that is read late: in fields that are secret, not in what names and ids hang on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from decl.findings import Path, Problem
from decl.late import Late
from decl.secret_fields import is_secret

_ALSO = frozenset(("cert", "cert_alt", "pem", "public_key", "headers", "server", "config"))
"""Fields, or fields above, in which a reference may stand as well."""


def check_late_values(
    document: Mapping[str, Any], allows_variable: Callable[[str], bool]
) -> Iterator[Problem]:
    """References in other places, and to variables that the settings do not allow."""
    for path, value in _late(document, ()):
        if not _is_allowed(path):
            message = f"{value} cannot stand here, other things depend on the value; write ${{{{ env }}}}"
            yield Problem(path, "late-value", message)
        elif value.kind == "env" and not allows_variable(value.name):
            message = f"{value.name} begins with none of env_prefixes in .kgate.yaml"
            yield Problem(path, "forbidden-variable", message)


def _is_allowed(path: Path) -> bool:
    names = [step for step in path if isinstance(step, str)]
    kinds = [name for name in names[:-1] if name.endswith("s")]
    return any(is_secret(kind, names[-1]) for kind in kinds[-1:]) or not _ALSO.isdisjoint(names)


def _late(value: Any, path: Path) -> Iterator[tuple[Path, Late]]:
    if isinstance(value, Late):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _late(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _late(item, (*path, index))
