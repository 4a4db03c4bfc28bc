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

PASS:
    - name: request-transformer
      config:
        add: {headers: ["Authorization:$(headers.x_token)", "x-user:kim"]}
        remove: {headers: [Authorization]}
        rename: {headers: ["Authorization:X-Authorization"]}

FAIL:
    - {name: request-transformer, config: {add: {headers: ["Authorization:Basic a2ltOnMzY3IzdA=="]}}}

FAIL:
    - {name: http-log, config: {http_endpoint: "https://kim:s3cr3t@log.example"}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from decl.findings import WARNING, Level, Path
from decl.late import is_marked
from decl.lint.hit import Hit
from decl.lint.view import View
from decl.secret_fields import encrypted_fields, is_secret

ID = "literal-secret"
LEVEL: Level = WARNING

_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_TRANSFORMED = ("headers", "querystring", "body", "json")


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
        at = (*path, name)
        if isinstance(value, dict):
            yield from _fields(kind, value, at, names)
        elif isinstance(value, list):
            yield from _items(kind, name, value, at, names)
        elif isinstance(value, str) and not _is_reference(value):
            if is_secret(kind, name) or name in names:
                yield _hit(name, at)
            elif _IN_URL.search(value):
                yield _hit("the URL's password", at)


def _items(kind: str, name: str, values: list[Any], path: Path, names: frozenset[str]) -> Iterator[Hit]:
    """Those of a list: maps, and the transformers' `name:value`; `rename` has only names."""
    if "rename" in path:
        return
    for index, value in enumerate(values):
        if isinstance(value, dict):
            yield from _fields(kind, value, (*path, index), names)
        elif isinstance(value, str) and name in _TRANSFORMED and not _is_reference(value):
            header, colon, text = value.partition(":")
            if colon and is_secret(kind, header) and text.strip() and not text.strip().startswith("$("):
                yield _hit(header, (*path, index))


def _hit(what: str, path: Path) -> Hit:
    return Hit(path, f"{what} stands here in clear; write !env NAME or {{vault://...}}")


def _is_reference(value: str) -> bool:
    return not value or is_marked(value) or value.startswith("{vault://")
