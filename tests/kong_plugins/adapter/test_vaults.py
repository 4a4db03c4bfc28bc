"""Kong does not look for vault references in configs of ours that have none, and still does in all others."""

from __future__ import annotations

import pytest


class Vaults:
    """Kong's `kong.vault.update`, which notes the configs that it walks through, behind the adapter's."""

    def __init__(self, world):
        self.world, self.walked = world, []
        world.lua.globals()[b"kong"][b"vault"] = world.lua.table_from({b"update": self._update})
        self.settle = world.module("kgate.vaults").settle

    def _update(self, conf):
        self.walked.append(conf)
        return conf

    def update(self, conf):
        """As Kong calls it with each request: the function is looked up each time."""
        return self.world.run("return kong.vault.update(...)", conf)

    def walks(self, conf):
        """Whether Kong walks through it."""
        before = len(self.walked)
        assert self.world.run("return rawequal(...)", self.update(conf), conf), "what Kong goes on with"
        return len(self.walked) > before


@pytest.fixture
def vaults(world):
    return Vaults(world)


@pytest.mark.parametrize(
    ("conf", "walks"),
    [
        ({}, False),
        ({"fail": "open", "issuers": ["a", "b"], "revoked": {"ids": {"a": "b"}}}, False),
        ({"url": "{vault://env/x}", "$refs": {"url": "{vault://env/x}"}}, True),
        ({"redis": {"password": "", "$refs": {"password": "{vault://env/x}"}}}, True),
        ({"a": [{"b": {"c": ["x"], "$refs": {"c": ["{vault://env/x}"]}}}]}, True),
        ({"$refs": {}}, True),
    ],
)
def test_only_configs_without_a_reference_are_spared(vaults, conf, walks):
    table = vaults.world.table(conf)
    assert vaults.walks(table), "one that nobody has looked at"
    vaults.settle(table)
    assert vaults.walks(table) is walks


def test_a_config_that_holds_itself_is_kongs(vaults):
    table = vaults.world.run("local t = {}; t.t = t; return t")
    vaults.settle(table)
    assert vaults.walks(table)


def test_other_plugins_configs_are_kongs(vaults):
    vaults.settle(vaults.world.table({}))
    assert vaults.walks(vaults.world.table({"claims_to_verify": ["exp"]}))
    assert vaults.update(None) is None


def test_settled_twice_kongs_own_function_is_still_behind(vaults):
    for _ in range(3):
        vaults.settle(vaults.world.table({}))
    assert vaults.walks(vaults.world.table({}))


def test_where_another_plugin_has_put_its_own_before_it_goes_on(vaults):
    vaults.settle(vaults.world.table({}))
    vaults.world.run("local before = kong.vault.update; kong.vault.update = function(c) return before(c) end")
    table = vaults.world.table({})
    vaults.settle(table)
    assert not vaults.walks(table)
    assert vaults.walks(vaults.world.table({}))


@pytest.mark.parametrize("vault", [None, {}])
def test_a_kong_without_it(world, vault):
    world.lua.globals()[b"kong"][b"vault"] = None if vault is None else world.table(vault)
    world.module("kgate.vaults").settle(world.table({}))


def test_configs_do_not_outlive_their_configuration(vaults):
    vaults.world.run(
        """
        local settle = ...
        gone = setmetatable({}, { __mode = "k" })
        for _ = 1, 50 do
          local conf = { list = {} }
          settle(conf)
          gone[conf] = true
        end
        """,
        vaults.settle,
    )
    vaults.world.run("collectgarbage() collectgarbage()")
    assert vaults.world.run("return next(gone)") is None


def test_the_configs_of_a_plan_are_settled(vaults):
    world = vaults.world
    walked = world.run(
        """
        local plan, update = ...
        local own, facts, gate, other = {}, { headers = { "cookie" } }, { fail = "open" }, {}
        local combos = { kgate = { ["::"] = own }, ["kgate-facts"] = { ["::"] = facts },
          passport = { ["R::"] = gate }, jwt = { ["R::"] = other } }
        local ctx = { plugins = { ws = { combos = combos } }, route = { id = "R" }, service = { id = "S" } }
        assert(plan(ctx, "kgate", own).headers[1] == "cookie")
        for _, conf in ipairs { own, facts, gate, other } do kong.vault.update(conf) end
        return other
        """,
        world.module("kgate.plan").of,
    )
    assert [world.run("return rawequal(...)", each, walked) for each in vaults.walked] == [True]
