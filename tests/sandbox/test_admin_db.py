"""DB mode and the control plane, as far as only the sandbox has them: propagation, settings, invented data planes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.clustering import DataPlanes, config_hash
from sandbox.declarative import Reply
from sandbox.settings import load
from sandbox.store import EMPTY_HASH, Store


def _soon(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 30
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_writes_reach_the_proxy(box: Any, http: Any) -> None:
    _, port = box.upstream()
    box.start(KONG_DATABASE="postgres", KONG_SANDBOX_PROPAGATION="20ms")

    def write(method: str, path: str, body: dict[str, Any]) -> Any:
        return http(box.admin, method, path, {"Content-Type": "application/json"}, json.dumps(body).encode())

    assert write("PUT", "/services/s", {"url": f"http://127.0.0.1:{port}"}).status == 200
    assert write("POST", "/services/s/routes", {"name": "r", "paths": ["/r"]}).status == 201
    assert _soon(lambda: box.get("/r").status == 200)
    write("POST", "/routes/r/plugins", {"name": "request-termination", "config": {"status_code": 418}})
    assert _soon(lambda: box.get("/r").status == 418)
    assert http(box.admin, "DELETE", "/routes/r").status == 204
    assert _soon(lambda: box.get("/r").status == 404)


def test_many_writes_are_applied_at_once(box: Any, http: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    box.start(KONG_DATABASE="postgres", KONG_SANDBOX_PROPAGATION="500ms")
    applied: list[Store] = []
    monkeypatch.setattr(box.sandbox._admin, "_apply", applied.append)
    for i in range(5):
        http(box.admin, "PUT", f"/consumers/c{i}", {"Content-Type": "application/json"}, b"{}")
    assert _soon(lambda: bool(applied) and len(applied[-1].entities["consumers"]) == 5)
    assert len(applied) < 5


def test_stopping_with_a_write_under_way(box: Any, http: Any) -> None:
    box.start(KONG_DATABASE="postgres", KONG_SANDBOX_PROPAGATION="10s")
    http(box.admin, "PUT", "/consumers/c", {"Content-Type": "application/json"}, b"{}")
    assert box.sandbox._admin._pending is not None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KONG_DATABASE", "cassandra"),
        ("KONG_ROLE", "data_plane"),
        ("KONG_SANDBOX_DATA_PLANES", "many"),
        ("KONG_SANDBOX_PROPAGATION", "soon"),
    ],
)
def test_settings_that_are_not_there_are_named(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable):
        load({variable: value})


def test_data_planes_follow_after_the_delay() -> None:
    now = [100.0]
    planes = DataPlanes("control_plane", 2, 5.0, lambda: now[0])

    def hashes() -> set[str]:
        with pytest.raises(Reply) as e:
            planes.answer("GET", ["clustering", "data-planes"], {})
        return {row["config_hash"] for row in e.value.body["data"]}

    assert hashes() == {EMPTY_HASH}
    first = Store().having("services", {"id": "a", "name": "a"})
    planes.changed(first)
    now[0] += 3
    second = first.having("services", {"id": "b", "name": "b"})
    planes.changed(second)
    assert hashes() == {EMPTY_HASH}
    now[0] += 2
    assert hashes() == {config_hash(first)}
    now[0] += 3
    assert hashes() == {config_hash(second)}
    assert config_hash(first) != config_hash(second)
