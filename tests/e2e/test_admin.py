"""What the Admin API refuses, and what default deny closes."""

import json
from typing import Any

import pytest
import requests

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, token, wait_until


def only_dbless(gateway: Gateway) -> None:
    if gateway.mode != "dbless":
        pytest.skip("a whole configuration is posted to DB-less nodes only")


def document(gateway: Gateway, **route: Any) -> dict[str, Any]:
    service = {
        "name": "bare",
        "url": f"http://{gateway.upstreams['main'].address}",
        "routes": [{"name": "bare", "paths": ["/bare"], **route}],
    }
    adapter = {"socket": str(gateway.run_dir / "express.sock")}
    plugins = [{"name": "kgate", "config": adapter}, {"name": "kgate-facts", "config": adapter}]
    return {"_format_version": "3.0", "services": [service], "plugins": plugins}


@pytest.fixture(scope="module")
def restored(gateway: Gateway) -> Any:
    """A whole configuration may be posted (so DB-less only); the tests' own comes back after the last of them."""
    only_dbless(gateway)
    yield
    gateway.push(gateway.config())


@pytest.mark.usefixtures("restored")
def test_a_protected_route_without_passport_is_closed(gateway: Gateway, client: Client) -> None:
    answer = gateway.post_raw(document(gateway, tags=["kgate-protected"]))
    assert answer.status_code == 201, answer.text
    wait_until(lambda: client("/bare/echo").status != 404, 2, "the new configuration")
    before = gateway.reached()
    refused = client("/bare/echo", token=token())
    assert (refused.status, refused.reason) == (503, "unprotected")
    assert gateway.reached() == before


@pytest.mark.usefixtures("restored")
def test_plugins_at_every_scope_are_asked_once(gateway: Gateway, client: Client) -> None:
    made = document(gateway)
    made["plugins"].append({"name": "abuse-guard", "config": {"deny": ["127.9.0.0/16"]}})  # global
    made["services"][0]["plugins"] = [{"name": "passport", "config": {"issuers": ["main"]}}]
    made["services"][0]["routes"][0]["plugins"] = [
        {"name": "abuse-guard", "config": {"deny": ["127.7.0.0/16"]}}
    ]
    assert gateway.post_raw(made).status_code == 201
    # stored is not yet live
    wait_until(lambda: client("/bare/echo").status == 401, 2, "the new configuration")
    assert client("/bare/echo", token=token()).status == 200
    assert client("/bare/echo", token=token(), source="127.7.0.1").status == 403
    assert client("/bare/echo", token=token(), source="127.9.0.1").status == 200, (
        "replaced by the route's own"
    )


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("name", ["kgate", "kgate-facts"])
@pytest.mark.parametrize("scope", ["route", "service"])
def test_the_adapter_is_global_only(gateway: Gateway, name: str, scope: str) -> None:
    made = document(gateway)
    made["plugins"].append({"name": name, scope: "bare"})
    answer = gateway.post_raw(made)
    assert answer.status_code == 400, answer.text
    assert "value must be null" in answer.text


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("missing", [{"kgate"}, {"kgate", "kgate-facts"}])
def test_a_gate_route_without_the_guard_is_closed(
    gateway: Gateway, client: Client, missing: set[str]
) -> None:
    path = f"/without-{len(missing)}"
    made = document(gateway, paths=[path], plugins=[{"name": "passport", "config": {"issuers": ["main"]}}])
    made["plugins"] = [plugin for plugin in made["plugins"] if plugin["name"] not in missing]
    assert gateway.post_raw(made).status_code == 201
    wait_until(lambda: client(f"{path}/echo", token=token()).status != 404, 2, "the new configuration")
    before = gateway.reached()
    for headers in ({}, {"X-Passport": "forged"}):
        refused = client(f"{path}/echo", token=token(), headers=headers)
        assert (refused.status, refused.reason) == (503, "unguarded")
    assert gateway.reached() == before


@pytest.mark.usefixtures("restored")
def test_a_refused_config_closes_its_own_route_only(gateway: Gateway, client: Client) -> None:
    made = document(gateway, plugins=[{"name": "abuse-guard", "config": {"deny": ["no address"]}}])
    good = {
        "name": "good",
        "paths": ["/good"],
        "plugins": [{"name": "passport", "config": {"issuers": ["main"]}}],
    }
    made["services"][0]["routes"].append(good)
    assert gateway.post_raw(made).status_code == 201
    wait_until(lambda: client("/good/echo", token=token()).status == 200, 2, "the new configuration")
    for _ in range(8):
        assert client("/bare/echo").status == 503
        assert client("/good/echo", token=token()).status == 200


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("name", ["kgate", "kgate-facts"])
def test_a_nested_instance_of_the_adapter_disarms_nothing(
    gateway: Gateway, client: Client, name: str
) -> None:
    """A DB-less Kong takes a nested instance in spite of the schema; it must not replace the global one."""
    own = {
        "name": name,
        "config": {"socket": "/nowhere", **({"strip": []} if name == "kgate" else {"headers": []})},
    }
    made = document(gateway, plugins=[own, {"name": "passport", "config": {"issuers": ["main"]}}])
    if gateway.post_raw(made).status_code == 400:
        return
    wait_until(lambda: client("/bare/echo").status == 401, 2, "the new configuration")
    assert client("/bare/echo", token=token(), headers={"X_Passport": "forged"}).status == 200
    assert "forged" not in gateway.upstreams["main"].seen[-1].values("X-Passport")


@pytest.mark.usefixtures("restored")
def test_a_consumer_has_no_gate_plugin(gateway: Gateway) -> None:
    made = document(gateway)
    made["consumers"] = [{"username": "bob"}]
    made["plugins"].append({"name": "abuse-guard", "consumer": "bob"})
    assert gateway.post_raw(made).status_code == 400


@pytest.mark.parametrize(
    ("plugin", "field"),
    [
        ({"name": "passport", "config": {"issuers": "main"}}, "issuers"),
        ({"name": "passport", "config": {"issuers": ["main"], "mode": "perhaps"}}, "mode"),
        ({"name": "abuse-guard", "config": {"fail": "maybe"}}, "fail"),
        ({"name": "abuse-guard", "config": {"unknown": 1}}, "unknown"),
    ],
)
def test_a_bad_config_is_refused_with_its_field(gateway: Gateway, plugin: dict[str, Any], field: str) -> None:
    only_dbless(gateway)
    answer = gateway.post_raw(document(gateway, plugins=[plugin]))
    assert answer.status_code == 400
    assert field in answer.text


def test_the_pushed_bytes_are_what_status_says(gateway: Gateway) -> None:
    only_dbless(gateway)
    gateway.push(gateway.config())
    again = gateway.kgate("-f", str(gateway.dir / "gateway.yaml"), "sync", "--yes", "--output", "json")
    states = [node["state"] for node in json.loads(again.stdout)["nodes"]]
    assert states == ["unchanged"] * len(gateway.admins)
    status = requests.get(f"{gateway.admin}/status", timeout=5).json()
    assert len(status["configuration_hash"]) == 32
