"""Which gate plugins a route runs: Kong's precedence, the tags, the fail policy, and the self-test."""

from __future__ import annotations

import pytest

SCOPES = ["R:S:", "R::", ":S:", "::"]  # most specific first


def plan_of(world, combos, *, tags=(), own_conf=None, service=True, ctx=None):
    """The plan of route R (service S) with these combos; kgate's own global instance is added."""
    code = """
      local plan, combos, tags, service, ctx = ...
      local own = {}
      combos.kgate = combos.kgate or { ["::"] = own }
      local t = ctx or { plugins = { ws = { combos = combos } } }
      t.route = { id = "R", name = "route", tags = tags }
      t.service = service and { id = "S", name = "service" } or nil
      return plan(t, "kgate", own)
    """
    plan = world.run(
        code,
        world.module("kgate.plan").of,
        world.table(combos),
        world.table(list(tags)),
        service,
        None if ctx is None else world.table(ctx),
    )
    return world.py(plan)


@pytest.mark.parametrize(
    "present", [SCOPES[i:] for i in range(4)] + [["R::", "::"], ["R:S:", ":S:"], [":S:"]]
)
def test_precedence(world, present):
    plan = plan_of(world, {"passport": {scope: {"from": scope} for scope in present}})
    assert plan["confs"][0]["from"] == present[0]


def test_a_consumers_instance_is_not_the_routes(world):
    assert plan_of(world, {"passport": {"R::C": {}, "::C": {}}})["n"] == 0


def test_another_routes_instance_is_not_ours(world):
    assert plan_of(world, {"passport": {"R2::": {}, ":S2:": {}, "R:S2:": {}}})["n"] == 0


def test_without_service_only_route_and_global_count(world):
    assert plan_of(world, {"passport": {":S:": {}, "R:S:": {}}}, service=False)["n"] == 0
    assert plan_of(world, {"passport": {"R::": {}}}, service=False)["n"] == 1


def test_order_is_that_of_the_priorities(world):
    combos = {
        name: {"R::": {}} for name in ("static-fallback", "passport", "jwt", "canary-router", "abuse-guard")
    }
    assert plan_of(world, combos)["names"] == ["abuse-guard", "passport", "canary-router", "static-fallback"]


@pytest.mark.parametrize(
    ("fails", "closed"),
    [
        ({"passport": "open"}, False),
        ({"passport": "closed"}, True),
        ({"passport": None}, True),
        ({"passport": "open", "abuse-guard": "closed"}, True),
        ({"passport": "open", "abuse-guard": "open"}, False),
        ({"passport": "Open"}, True),
    ],
)
def test_the_strictest_fail_policy_wins(world, fails, closed):
    combos = {name: {"R::": {"fail": fail} if fail else {}} for name, fail in fails.items()}
    assert plan_of(world, combos)["closed"] is closed


@pytest.mark.parametrize(
    ("tags", "combos", "deny"),
    [
        (["kgate-protected"], {}, "unprotected"),
        (["kgate-protected"], {"abuse-guard": {"R::": {}}}, "unprotected"),
        (["kgate-protected"], {"passport": {"R::": {}}}, None),
        (["kgate-protected-not"], {}, None),
        ([], {"abuse-guard": {"R::": {}}}, None),
    ],
)
def test_default_deny(world, tags, combos, deny):
    assert plan_of(world, combos, tags=tags).get("deny") == deny


def test_tenant_comes_from_the_tag(world):
    plan = plan_of(world, {}, tags=["a", "kgate-tenant:order", "b"])
    assert (plan["tenant"], plan["route"], plan["service"]) == ("order", "route", "service")


@pytest.mark.parametrize(
    ("combos", "ctx"),
    [
        ({"kgate": {"::": {"other": "conf"}}, "passport": {"R::": {}}}, None),
        ({"kgate": {"global": {}}, "passport": {"R::": {}}}, None),
        ({"passport": {"R": {}}}, None),
        ({"passport": {"R::": "text"}}, None),
        ({"passport": {}}, None),
        ({}, {"plugins": {"ws": {"plugins": {}}}}),
        ({}, {"plugins": {}}),
        ({}, {}),
    ],
)
def test_an_unreadable_table_denies_protected_routes_only(world, combos, ctx):
    assert plan_of(world, dict(combos), tags=["kgate-protected"], ctx=ctx)["deny"] == "unreadable"
    assert plan_of(world, dict(combos), ctx=ctx).get("deny") is None
    assert any("cannot read Kong's plugin table" in e for e in world.py(world.fake[b"errors"]))


def test_a_plan_is_kept_per_configuration_route_and_service(world):
    same = world.run(
        """
        local plan = ...
        local own = {}
        local ws = { combos = { kgate = { ["::"] = own } } }
        local function of(ws, route, service)
          return plan({ plugins = { ws = ws }, route = route, service = service }, "kgate", own)
        end
        local route, service = { id = "R" }, { id = "S" }
        local first = of(ws, route, service)
        local other = { combos = ws.combos }
        return rawequal(first, of(ws, route, service)), rawequal(first, of(other, route, service)),
          rawequal(first, of(ws, { id = "R" }, service)), rawequal(first, of(ws, route, { id = "S2" }))
        """,
        world.module("kgate.plan").of,
    )
    assert same == (True, False, False, False)


def test_plans_do_not_outlive_their_configuration(world):
    kept = world.run(
        """
        local plan = ...
        local weak = setmetatable({}, { __mode = "v" })
        do
          local own = {}
          local ws = { combos = { kgate = { ["::"] = own }, passport = { ["::"] = {} } } }
          local ctx = { plugins = { ws = ws }, route = { id = "R" }, service = { id = "S" } }
          weak[1] = plan(ctx, "kgate", own)
        end
        collectgarbage() collectgarbage()
        return weak[1] ~= nil
        """,
        world.module("kgate.plan").of,
    )
    assert kept is False
