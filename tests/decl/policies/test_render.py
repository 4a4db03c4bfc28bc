"""The blocks in a file, through validation, to what one cluster's Kong gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from decl.load import Text
from decl.project import open_project
from decl.render import render

FALLBACK = {"name": "static-fallback", "config": {"responses": [{"on": [502], "text": "x"}]}}


def opened(retry: Any = None, health: Any = None, **service: Any) -> Any:
    routes = [{"name": "r", "paths": ["/r"], "plugins": [FALLBACK]}]
    made: dict[str, Any] = {"name": "s", "host": "u", "routes": routes, **service}
    upstream: dict[str, Any] = {"name": "u", "targets": [{"target": "a.example:80"}]}
    if retry is not None:
        made["retry"] = retry
    if health is not None:
        upstream["health"] = health
    document = {"_format_version": "3.0", "services": [made], "upstreams": [upstream]}
    return open_project([Text("f.json", json.dumps(document).encode())], {})


def test_kong_gets_its_own_fields() -> None:
    project = opened({"attempts": 3, "per_try_timeout": "500ms", "budget": 20}, {"path": "/up"})
    document = render(project.gateway, "any").document
    (service,), (upstream,) = document["services"], document["upstreams"]
    assert {key: service[key] for key in ("retries", "connect_timeout", "read_timeout", "write_timeout")} == {
        "retries": 2,
        "connect_timeout": 500,
        "read_timeout": 500,
        "write_timeout": 500,
    }
    assert "retry" not in service
    assert "health" not in upstream
    assert upstream["healthchecks"]["active"]["http_path"] == "/up"
    assert service["routes"][0]["plugins"][0]["config"]["retry_budget"] == 20


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"retry": {"attempts": 2}, "retries": 1}, "retries is set too"),
        ({"retry": {"attempts": 0}}, "attempts"),
        ({"retry": {"per_try_timeout": "5h"}}, "per_try_timeout"),
        ({"retry": {"tries": 1}}, "tries"),
        ({"health": {"path": "/x", "protocol": "tcp"}}, "nothing is asked"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(more: dict[str, Any], says: str) -> None:
    found = [f"{each}" for each in opened(**more).findings]
    assert any(says in each for each in found), found
