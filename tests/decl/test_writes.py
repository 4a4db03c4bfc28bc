"""Single changes as requests: what a request must not take with it. Answers as Kong 3.9.3 gives them."""

from __future__ import annotations

from typing import Any

import pytest

from decl.change import Change, FieldChange
from decl.server_schema import Schemas
from decl.writes import inverse, write

CONSUMER = {"consumer": {"id": "c"}}
NO_SCHEMAS = Schemas(lambda name: None)


def update(
    kind: str, body: dict[str, Any], before: dict[str, Any], *changed: str, action: Any = "update"
) -> Change:
    fields = tuple(FieldChange(path, None, None) for path in changed)
    return Change(action, kind, "1", "it", {"id": "1", **body}, {"id": "1", **before}, fields)


@pytest.mark.parametrize(
    ("kind", "body", "forgotten"),
    [
        ("hmacauth_credentials", {"username": "u"}, {"tags": None}),
        ("jwt_secrets", {"key": "k"}, {"rsa_public_key": None, "algorithm": "HS256", "tags": None}),
        (
            "oauth2_credentials",
            {"name": "n", "client_id": "i"},
            {"redirect_uris": None, "client_type": "confidential", "tags": None},
        ),
    ],
)
def test_a_secret_that_kong_drew_is_kept(kind: str, body: dict[str, Any], forgotten: dict[str, Any]) -> None:
    """PUT without the secret draws another one, and whoever has the first is locked out."""
    found = write(update(kind, {**body, **CONSUMER}, {**body, **CONSUMER, "tags": ["a"]}, "tags"))
    assert found.method == "PATCH"
    assert found.body == {"id": "1", **body, **CONSUMER, **forgotten}


def test_a_secret_of_the_file_is_put() -> None:
    body = {"username": "u", "secret": "s", **CONSUMER}
    assert write(update("hmacauth_credentials", body, body, "tags")).method == "PUT"
    new = Change("create", "hmacauth_credentials", "1", "it", {"id": "1", "username": "u"})
    assert write(new).method == "PUT"


def test_hash_secret_goes_with_the_secret_only() -> None:
    """Kong: all or none of these fields must be set: 'hash_secret', 'client_secret'."""
    body = {"name": "n", "client_id": "i", "hash_secret": True}
    kept = write(update("oauth2_credentials", body, {**body, "client_secret": "$pbkdf2$"}, "name"))
    assert kept.method == "PATCH"
    assert kept.body is not None
    assert "hash_secret" not in kept.body
    other = write(update("oauth2_credentials", body, {**body, "hash_secret": False}, "hash_secret"))
    assert other.method == "PUT"


HASHED = {"name": "n", "client_id": "i", "hash_secret": True, "client_secret": "$pbkdf2$"}
PASSWORD = {"username": "u", "password": "c0ffee"}


@pytest.mark.parametrize(
    ("kind", "before", "secret"),
    [("oauth2_credentials", HASHED, "client_secret"), ("basicauth_credentials", PASSWORD, "password")],
)
def test_a_hash_is_never_written_back(kind: str, before: dict[str, Any], secret: str) -> None:
    """Kong would hash it again."""
    change = update(kind, {**before, secret: "clear", "tags": ["b"]}, {**before, "tags": ["a"]}, "tags")
    undo = inverse(change, NO_SCHEMAS)
    assert undo is not None
    assert undo.method == "PATCH"
    assert undo.body is not None
    assert undo.body["tags"] == ["a"]
    assert secret not in undo.body

    changed = update(kind, {**before, secret: "new"}, before, secret)
    assert inverse(changed, NO_SCHEMAS) is None
    gone = Change("delete", kind, "1", "it", None, {"id": "1", **before})
    assert inverse(gone, NO_SCHEMAS) is None


def test_undoing_keeps_the_names_that_a_route_wants() -> None:
    before = {"name": "r", "protocols": ["tls_passthrough"], "snis": ["a.example"]}
    fields = [{name: {"type": "string"}} for name in before]
    undo = inverse(
        update("routes", {**before, "snis": ["b.example"]}, before, "snis"),
        Schemas(lambda name: {"fields": fields}),
    )
    assert undo is not None
    assert undo.body is not None
    assert undo.body["snis"] == ["a.example"]


def test_undoing_leaves_the_names_of_a_certificate_to_themselves() -> None:
    before = {"cert": "c", "key": "k", "snis": ["a.example"]}
    undo = inverse(update("certificates", {**before, "cert": "d"}, before, "cert"), NO_SCHEMAS)
    assert undo is not None
    assert undo.body is not None
    assert "snis" not in undo.body
