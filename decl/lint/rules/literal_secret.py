"""A secret in clear in the file.

Everybody who can read the repository, its forks and its CI logs has it. Write `!env NAME` or `!file PATH`
(read when the config is sent), `${{ env "NAME" }}`, or `{vault://env/name}`, which Kong resolves itself.

Why: kgate masks what it knows to be secret, but a literal is in git before any tool sees it, and the tools that
mask by value miss some (Kong/deck#2140: the old value is shown when it changes).

PASS:
    consumers:
    - username: shop
      keyauth_credentials: [{key: !env SHOP_KEY}]
      basicauth_credentials: [{username: a, password: "{vault://env/a-password}"}]

FAIL:
    consumers:
    - username: shop
      keyauth_credentials: [{key: s3cr3t-key-of-the-shop}]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from decl.findings import WARNING, Level, Path
from decl.late import is_marked
from decl.lint.hit import Hit
from decl.lint.view import View
from decl.secret_fields import encrypted_fields, is_secret

ID = "literal-secret"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Plain text in fields that hold secrets."""
    for consumer in view.gateway.consumers:
        for credential in consumer.credentials:
            yield from _fields(credential.kind, credential.fields, credential.path)
    for item in view.gateway.items:
        for one in (item, *(child for children in item.children.values() for child in children)):
            yield from _fields(one.kind, one.fields, one.path)
    for placed in view.own_plugins:
        if placed.plugin.config:
            names = encrypted_fields(placed.plugin.name)
            yield from _fields("plugins", placed.plugin.config, (*placed.plugin.path, "config"), names)


def _fields(
    kind: str, values: Mapping[str, Any], path: Path, names: frozenset[str] = frozenset()
) -> Iterator[Hit]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _fields(kind, value, (*path, name), names)
        elif isinstance(value, str) and (is_secret(kind, name) or name in names) and not _is_reference(value):
            yield Hit((*path, name), f"{name} stands here in clear; write !env NAME or {{vault://...}}")


def _is_reference(value: str) -> bool:
    return not value or is_marked(value) or value.startswith("{vault://")
