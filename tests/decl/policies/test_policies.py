"""Short blocks and what Kong gets for them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from decl.policies import durations, health, retry


@pytest.mark.parametrize(
    ("value", "expected"), [(2, 2), (0.5, 0.5), ("500ms", 0.5), ("2s", 2), ("1m", 60), ("1.5s", 1.5)]
)
def test_seconds(value: Any, expected: float) -> None:
    jsonschema.validate(value, durations.SCHEMA)
    assert durations.seconds("x", value) == expected


@pytest.mark.parametrize("value", [0, -1, "", "5", "5h", "s", True, None, "2m1s", 4000])
def test_no_seconds(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^x: "):
        durations.seconds("x", value)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({}, (1, 1000, 10_000)),
        ({"attempts": 1, "per_try_timeout": "250ms"}, (0, 250, 250)),
        ({"attempts": 3, "per_try_timeout": 30}, (2, 1000, 30_000)),
    ],
)
def test_retry(block: dict[str, Any], expected: tuple[int, int, int]) -> None:
    jsonschema.validate(block, retry.SCHEMA)
    found = retry.fields(block, {"path": "/x"})
    assert (found["retries"], found["connect_timeout"], found["read_timeout"]) == expected
    assert found["write_timeout"] == found["read_timeout"]


@pytest.mark.parametrize(
    ("block", "given", "says"),
    [
        ({}, {"retries": 1}, "retry: retries is set too"),
        ({"attempts": 0}, {}, "retry.attempts"),
        ({"attempts": True}, {}, "retry.attempts"),
        ({"per_try_timeout": "x"}, {}, "retry.per_try_timeout"),
    ],
)
def test_bad_retry(block: dict[str, Any], given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        retry.fields(block, given)


def test_the_budget_goes_into_static_fallback() -> None:
    assert retry.with_budget({"budget": 20}, {"a": 1}) == {"a": 1, "retry_budget": 20}
    assert retry.with_budget({"budget": 20}, {"retry_budget": 5}) == {"retry_budget": 5}
    assert retry.with_budget({}, {"a": 1}) == {"a": 1}


def test_health_without_anything_tries_a_connection() -> None:
    found = health.healthchecks({})
    assert found["active"]["type"] == "tcp"
    assert "http_path" not in found["active"]
    assert found["active"]["healthy"] == {"interval": 5, "successes": 2}
    assert found["passive"]["unhealthy"]["http_statuses"] == [502, 503, 504]


def test_health_with_a_path() -> None:
    block = {
        "path": "/health",
        "interval": "500ms",
        "timeout": "200ms",
        "failures": 2,
        "successes": 1,
        "passive": False,
    }
    jsonschema.validate(block, health.SCHEMA)
    found = health.healthchecks(block)
    assert found == {
        "active": {
            "type": "http",
            "http_path": "/health",
            "timeout": 0.2,
            "concurrency": 10,
            "healthy": {"interval": 0.5, "successes": 1},
            "unhealthy": {
                "interval": 0.5,
                "tcp_failures": 2,
                "timeouts": 2,
                "http_failures": 2,
                "http_statuses": [429, 500, 502, 503, 504],
            },
        }
    }


def test_a_path_with_tcp() -> None:
    with pytest.raises(ValueError, match=r"health\.path"):
        health.healthchecks({"path": "/h", "protocol": "tcp"})
