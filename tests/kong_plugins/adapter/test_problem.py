"""The adapter's 503 is the problem document that the server writes."""

from __future__ import annotations

import json

import pytest

from kong_plugins.engine.problem import problem

REASONS = [
    "no_verdict",
    "server_away",
    "breaker_open",
    "unprotected",
    "unreadable",
    "adapter_error",
    "no_state",
]


@pytest.mark.parametrize("reason", REASONS)
def test_same_form_as_the_servers(world, reason):
    status, body, headers = world.module("kgate.problem").unavailable(reason.encode(), b"abc123")
    ours = json.loads(body)
    theirs = problem(503, reason, ours["detail"], "abc123")
    assert (status, ours) == (503, json.loads(theirs.body))
    assert world.py(headers) == dict(theirs.headers)
    assert len(ours["detail"]) > 20


@pytest.mark.parametrize("request_id", [None, b'"}<script>'])
def test_nothing_breaks_the_json(world, request_id):
    body = world.module("kgate.problem").unavailable(b"no_verdict", request_id)[1]
    assert json.loads(body)["request_id"] in ("", "script")
