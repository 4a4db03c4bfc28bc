"""Gate plugins at every scope, and the owner's own plugins beside them. Whole configurations: DB-less only."""

import itertools
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.client import Client, undisturbed
from tests.e2e.gateway import Gateway, steady, token, wait_until

CONFIGS: dict[str, dict[str, Any]] = {
    "abuse-guard": {"deny": ["127.9.0.0/16"]},
    "passport": {"issuers": ["main"]},
    "canary-router": {"name": "v2", "upstream": "canary", "percent": 0},
    "static-fallback": {"responses": [{"on": ["599"], "status": 200, "body": "{}", "name": "empty"}]},
}
SCOPES = ("global", "service", "route")
PLACES = [
    *(dict.fromkeys(CONFIGS, scope) for scope in SCOPES),
    *(dict(zip(CONFIGS, scopes, strict=True)) for scopes in itertools.islice(
        itertools.product(SCOPES, repeat=4), 5, 81, 13)),
]  # fmt: skip
"""All four at one scope, and a sample of the mixed ones."""


@pytest.fixture(scope="module")
def post(gateway: Gateway) -> Iterator[Callable[[dict[str, Any]], Any]]:
    if gateway.mode != "dbless":
        pytest.skip("a whole configuration is posted to DB-less nodes only")
    yield gateway.post_raw
    gateway.push(gateway.config())


def document(gateway: Gateway, places: dict[str, str], path: str) -> dict[str, Any]:
    scopes: dict[str, list[dict[str, Any]]] = {scope: [] for scope in SCOPES}
    for name, scope in places.items():
        scopes[scope].append({"name": name, "config": CONFIGS[name]})
    adapter = {"socket": str(gateway.run_dir / "express.sock")}
    route = {"name": "scoped", "paths": [path], "plugins": scopes["route"]}
    url = f"http://{gateway.upstreams['main'].address}"
    return {
        "_format_version": "3.0",
        "services": [{"name": "scoped", "url": url, "routes": [route], "plugins": scopes["service"]}],
        "upstreams": [{"name": "canary", "targets": [{"target": gateway.upstreams["canary"].address}]}],
        "plugins": [
            {"name": "kgate", "config": adapter},
            {"name": "kgate-facts", "config": adapter},
            *scopes["global"],
        ],
    }


def test_four_plugins_at_any_scopes_are_asked_once(
    gateway: Gateway, client: Client, post: Callable[[dict[str, Any]], Any]
) -> None:
    def decided() -> float:
        return gateway.metric("kgate_requests_total", route="scoped")

    def told() -> float:
        return gateway.metric("kgate_outcomes_total", route="scoped")

    for number, places in enumerate(PLACES):
        path = f"/scoped{number}"
        assert post(document(gateway, places, path)).status_code == 201
        wait_until(lambda path=path: client(f"{path}/echo").status == 401, 3, f"{places} is live")
        assert client(f"{path}/echo", token=token()).status == 200, places
        assert client(f"{path}/echo", token=token(), source="127.9.1.1").status == 403, places
        seen = gateway.upstreams["main"].seen[-1]
        assert len(seen.values("X-Passport")) == 1, places
    wait_until(lambda: decided() >= 3 * len(PLACES), 3, "the workers' reports")
    wait_until(lambda: told() >= 3 * len(PLACES), 3, "their outcomes")

    def more() -> tuple[float, float]:
        total, before = steady(decided), steady(told)
        for _ in range(4):
            assert client(f"{path}/echo", token=token()).status == 200
        wait_until(lambda: decided() >= total + 4, 3, "the workers' reports")
        wait_until(lambda: told() >= before + 4, 1, "outcomes")
        return steady(decided) - total, steady(told) - before

    assert undisturbed(client, more) == (4, 4), "one decision and one outcome a request"


@pytest.mark.parametrize("name", CONFIGS)
def test_the_admin_api_refuses_a_gate_plugin_of_a_consumer(
    gateway: Gateway, post: Callable[[dict[str, Any]], Any], name: str
) -> None:
    made = document(gateway, {}, "/none")
    made["consumers"] = [{"username": "bob"}]
    made["plugins"].append({"name": name, "consumer": "bob", "config": CONFIGS[name]})
    answer = post(made)
    assert answer.status_code == 400
    assert "consumer" in answer.text


OWNERS: dict[str, dict[str, Any]] = {
    "cors": {"origins": ["https://shop.example"]},
    "pre-function": {"access": ["kong.response.set_header('X-Owner', 'pre')"]},
    "post-function": {"header_filter": ["kong.response.set_header('X-Owner', 'post')"]},
    "correlation-id": {"header_name": "X-Owner", "echo_downstream": True},
}


@pytest.mark.parametrize("name", OWNERS)
def test_global_plugins_of_the_gateways_owner_keep_working(
    gateway: Gateway, client: Client, post: Callable[[dict[str, Any]], Any], name: str
) -> None:
    made = document(gateway, dict.fromkeys(CONFIGS, "route"), f"/owner-{name}")
    made["plugins"].append({"name": name, "config": OWNERS[name]})
    answer = post(made)
    if answer.status_code == 400 and not gateway.given:
        pytest.skip(f"the sandbox has no {name}: run with --kong-admin")
    assert answer.status_code == 201, answer.text
    path = f"/owner-{name}/echo"
    wait_until(lambda: client(path).status == 401, 3, "it is live")
    told = client(path, token=token(), headers={"Origin": "https://shop.example"})
    assert told.status == 200
    assert told.headers["access-control-allow-origin" if name == "cors" else "x-owner"]


def test_a_plugin_below_that_has_an_answer_does_not_give_it_without_the_server(
    gateway: Gateway, client: Client, post: Callable[[dict[str, Any]], Any]
) -> None:
    """proxy-cache has a HIT for everybody: only a verdict lets a request come so far."""
    made = document(gateway, dict.fromkeys(CONFIGS, "route"), "/cached")
    cache = {"strategy": "memory", "content_type": ["application/json"], "cache_ttl": 300}
    made["services"][0]["plugins"].append({"name": "proxy-cache", "config": cache})
    answer = post(made)
    if answer.status_code == 400 and not gateway.given:
        pytest.skip("the sandbox has no proxy-cache: run with --kong-admin")
    assert answer.status_code == 201, answer.text
    wait_until(lambda: client("/cached/echo").status == 401, 5, "it is live")

    def is_hit() -> bool:
        told = client("/cached/echo", token=token())
        assert told.status == 200
        return told.headers.get("x-cache-status", "").lower() == "hit"

    wait_until(is_hit, 5, "a hit")
    assert client("/cached/echo").status == 401
    gateway.signal_server(signal.SIGKILL)
    try:
        for _ in range(5):
            for more in ({}, {"token": token()}):
                told = client("/cached/echo", **more)
                assert (told.status, told.headers.get("x-cache-status")) == (503, None)
    finally:
        gateway.start_server()
    wait_until(lambda: client("/cached/echo", token=token()).status == 200, 8, "it is back")
