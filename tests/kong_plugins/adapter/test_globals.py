"""No module sets a global or reads one that OpenResty and Kong do not have."""

from __future__ import annotations

import subprocess
from shutil import which

import pytest

from .conftest import ADAPTER

FILES = sorted(ADAPTER.rglob("*.lua"))
KNOWN = {"ngx", "kong", "require", "package", "pcall", "error", "type", "pairs", "ipairs", "next", "tostring",
         "tonumber", "setmetatable", "getmetatable", "rawequal", "string", "table", "math", "io",
         "load", "coroutine"}  # fmt: skip

# The opcodes are taken from chunks that are known to read and to write one.
LISTING = """
  local text = ...
  local util, bit = require("jit.util"), require("bit")
  local function op(ins) return bit.band(ins, 0xff) end
  local GGET = op((util.funcbc(loadstring("local a = zzz"), 1)))
  local GSET = op((util.funcbc(loadstring("zzz = 1"), 2)))
  local used, set = {}, {}
  local function walk(proto)
    local pc = 1
    local ins = util.funcbc(proto, pc)
    while ins do
      if op(ins) == GGET or op(ins) == GSET then
        local list = op(ins) == GGET and used or set
        list[#list + 1] = util.funck(proto, -bit.rshift(ins, 16) - 1)
      end
      pc = pc + 1
      ins = util.funcbc(proto, pc)
    end
    local k = -1
    local constant = util.funck(proto, k)
    while constant ~= nil do
      if type(constant) == "proto" then walk(constant) end
      k = k - 1
      constant = util.funck(proto, k)
    end
  end
  walk(loadstring(text))
  return used, set
"""


def globals_of(world, text):
    """Names that the bytecode reads and writes as globals, functions inside included."""
    used, changed = world.run(LISTING, text)
    return set(world.py(used) or []), set(world.py(changed) or [])


def test_the_listing_sees_them(world):
    text = b"a = b; local function f() c = d; return function() e = g end end"
    assert globals_of(world, text) == ({"b", "d", "g"}, {"a", "c", "e"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_globals(world, path):
    used, changed = globals_of(world, path.read_bytes())
    assert changed == set()
    assert used - KNOWN == set()


def test_files_are_there():
    assert len(FILES) > 25


@pytest.mark.skipif(which("luacheck") is None, reason="luacheck is not installed")
def test_luacheck():
    done = subprocess.run(
        ["luacheck", "--no-color", "-q", str(ADAPTER), "--config", str(ADAPTER.parents[1] / ".luacheckrc")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ADAPTER.parents[1],
    )
    assert done.returncode == 0, done.stdout
