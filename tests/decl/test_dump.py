"""Services and routes whose form in a file is not the usual one: dumped, loaded and rendered they are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from decl import ids
from decl.dump import dump
from decl.flatten import flatten
from decl.late import Late
from decl.load import Text, load
from decl.project import open_project
from decl.render import render
from decl.server_schema import Schemas
from decl.yaml_text import to_yaml

TYPES = {
    "services": ("id", "name", "protocol", "host", "port", "path"),
    "routes": ("id", "name", "protocols", "snis", "service"),
}


def schemas() -> Schemas:
    return Schemas(lambda name: {"fields": [{field: {"type": "string"}} for field in TYPES.get(name, ())]})


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        (("http", "a.example", 80, None), "http://a.example"),
        (("https", "[::1]", 8443, "/x"), "https://[::1]:8443/x"),
        (("https", "::1", 443, None), None),
        (("http", "2001:db8::1", 8080, "/x"), None),
        (("tls_passthrough", "a.example", 80, None), None),
        (("http", "a.example", 80, "/a;b"), "http://a.example/a;b"),
    ],
    ids=str,
)
def test_a_service_comes_back_as_it_was(parts: tuple[Any, ...], url: str | None) -> None:
    given = dict(zip(("protocol", "host", "port", "path"), parts, strict=True))
    service = {
        "id": ids.entity_id("services", "s"),
        "name": "s",
        **{name: value for name, value in given.items() if value is not None},
    }
    document, _ = dump(flatten({"services": [service]}), schemas())
    assert document["services"][0].get("url") == url

    project = open_project([Text("f", json.dumps(document).encode())], {})
    assert project.gateway is not None, project.findings
    (made,) = render(project.gateway, "default").document["services"]
    assert {name: made.get(name) for name in given} == given


def test_the_names_that_a_route_wants_are_dumped() -> None:
    route = {
        "id": ids.entity_id("routes", "r"),
        "name": "r",
        "protocols": ["tls_passthrough"],
        "snis": ["a.example"],
    }
    document, _ = dump(flatten({"routes": [route]}), schemas())
    assert document["routes"][0]["snis"] == ["a.example"]


def test_a_hash_is_not_taken_for_the_secret() -> None:
    """Kong would hash it once more, and nobody could log in."""
    hashed = {
        "basicauth_credentials": [{"id": "b", "username": "kim", "password": "c0ffee"}],
        "oauth2_credentials": [
            {"id": "o", "name": "a", "client_id": "i", "hash_secret": True, "client_secret": "$pbkdf2-x"},
            {"id": "p", "name": "b", "client_id": "j", "client_secret": "clear"},
        ],
    }
    consumer = {"id": ids.entity_id("consumers", "kim"), "username": "kim", **hashed}
    document, variables = dump(flatten({"consumers": [consumer]}), schemas(), secrets="clear")
    (kim,) = document["consumers"]
    assert kim["basicauth_credentials"][0]["password"] == Late("env", "KGATE_KIM_PASSWORD")
    first, second = kim["oauth2_credentials"]
    assert first["client_secret"] == Late("env", "KGATE_KIM_CLIENT_SECRET")
    assert second["client_secret"] == "clear"
    assert variables == ("KGATE_KIM_PASSWORD", "KGATE_KIM_CLIENT_SECRET")


LOOKS = [
    "08",
    "1e3",
    "0o17",
    "0x1F",
    "+1",
    ".5",
    "1:30",
    "on",
    "null",
    "~",
    "",
    "2024-01-01",
    "1_000",
    "=",
    "a: b",
    "#1",
    "!x",
    "日本",
]


@pytest.mark.parametrize("text", LOOKS)
def test_texts_that_look_like_something_else_are_texts_again(text: str) -> None:
    written = to_yaml({"_format_version": "3.0", text: [text], "x": text})
    document = load([Text("f", written.encode())]).document
    assert document["x"] == text
    assert document[text] == [text]
