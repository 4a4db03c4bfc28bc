"""The chain hash is one that the server computes too, and is the same for the same config."""

from __future__ import annotations

import hashlib
import json

import msgpack
import pytest


def chain_of(world, *plugins):
    plan = world.table(
        {"n": len(plugins), "names": [n for n, _ in plugins], "confs": [c for _, c in plugins]}
    )
    chain = world.module("kgate.chain").of(plan)
    return chain[b"hash"].decode(), msgpack.unpackb(chain[b"configs"]), chain[b"head"]


def test_hash_is_the_md5_of_what_is_sent(world):
    digest, configs, head = chain_of(
        world, ("abuse-guard", {"b": [1, 2], "a": "ü"}), ("passport", {"fail": "closed"})
    )
    assert configs[0::2] == ["abuse-guard", "passport"]
    material = "".join(f"{name}\0{text}\0" for name, text in zip(configs[0::2], configs[1::2], strict=True))
    assert digest == hashlib.md5(material.encode()).hexdigest()
    assert head == msgpack.packb("d") + msgpack.packb(digest)
    assert [json.loads(text) for text in configs[1::2]] == [{"a": "ü", "b": [1, 2]}, {"fail": "closed"}]


def test_kongs_own_keys_are_left_out(world):
    ids = ("__key__", "__plugin_id", "__ws_id", "route_id", "service_id", "consumer_id")
    kongs = {**dict.fromkeys(ids, "x"), "__seq__": 3, "plugin_instance_name": "i", "$refs": {"a": "ref"}}
    assert chain_of(world, ("passport", {"a": 1, **kongs}))[1] == ["passport", '{"a":1}']


def test_keys_are_sorted_whatever_the_table_order(world):
    names = [f"key{i}" for i in range(20)]
    conf = {"z": True, "n": dict.fromkeys(names, 1), "a": 1}
    text = chain_of(world, ("passport", conf))[1][1]
    assert text == json.dumps(conf, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("conf", [{"a": []}, {"a": {"b": []}}])
def test_empty_arrays_that_kong_marks_stay_arrays(world, conf):
    code = """
      local mt, value = ...
      local function mark(t)
        for _, v in pairs(t) do
          if next(v) then mark(v) else setmetatable(v, mt) end
        end
      end
      mark(value)
      return value
    """
    marked = world.run(code, world._array_mt, world.table(conf))
    assert json.loads(world.module("kgate.chain").config_json(marked)) == conf


def test_kept_in_the_plan_unless_kong_may_change_the_config(world):
    code = """
      local of, refs = ...
      local plan = { n = 1, names = { "passport" }, confs = { { a = 1, ["$refs"] = refs } } }
      local first = of(plan)
      plan.confs[1].a = 2
      return rawequal(first, of(plan)), first.hash == of(plan).hash
    """
    of = world.module("kgate.chain").of
    assert world.run(code, of, None) == (True, True)
    assert world.run(code, of, world.table({"a": "ref"})) == (False, False)


@pytest.mark.parametrize(
    ("registered", "complete"),
    [([1, 2], True), ([1], False), ([2, 1], False), ([1, 2, 2], False), ([1, 3], False)],
)
def test_registered_configs_must_be_the_plans(world, registered, complete):
    code = """
      local chain, registered = ...
      local confs = { {}, {}, {} }
      ngx.ctx = {}
      for _, i in ipairs(registered) do chain.add({}, confs[i]) end
      return chain.is_complete(ngx.ctx.kgate, { n = 2, confs = { confs[1], confs[2] } })
    """
    assert world.run(code, world.module("kgate.chain")._table, world.table(registered)) is complete
