"""LuaJIT with the adapter on its path and the stand-in of fake.lua: a new one for each test."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from lupa.luajit21 import LuaRuntime, lua_type

HERE = Path(__file__).parent
ADAPTER = Path(__file__).parents[3] / "kong_plugins" / "adapter"


class Module:
    """A Lua module: its functions by name. They take and return bytes."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return self._table[name.encode()]


class World:
    """One Lua state. Text crosses as UTF-8 with surrogate escapes; `raw` values stay bytes."""

    def __init__(self, lane: str = "pdk", path: str = "") -> None:
        self.lua = LuaRuntime(
            encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False
        )
        folders = [ADAPTER / "common"] + ([ADAPTER / "express"] if lane == "express" else [])
        search = path or ";".join(f"{folder}/?.lua" for folder in folders)
        self.lua.execute(b"package.path, package.cpath = ..., ''", search.encode())
        array_mt = self.lua.table()
        host = self.table({})
        host[b"md5"] = lambda text: hashlib.md5(text).hexdigest().encode()
        host[b"array_mt"] = array_mt
        host[b"null"] = None
        host[b"encode"] = lambda value: json.dumps(self.py(value)).encode()
        host[b"decode"] = self._decode
        self.fake = self.lua.execute((HERE / "fake.lua").read_bytes(), host)
        self._array_mt = array_mt

    def _decode(self, text: bytes) -> Any:
        try:
            return self.table(json.loads(text))
        except ValueError as error:
            return None, str(error).encode()

    def module(self, name: str) -> Module:
        return Module(self.run("return (require(...))", f"kong.plugins.{name}".encode()))

    def table(self, value: Any) -> Any:
        """A Python value as Lua's."""
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        if isinstance(value, dict):
            return self.lua.table_from({self.table(k): self.table(v) for k, v in value.items()})
        if isinstance(value, list | tuple):
            return self.lua.table_from([self.table(v) for v in value])
        return value

    def py(self, value: Any) -> Any:
        """A Lua value as Python's; an empty table is {}."""
        if isinstance(value, bytes):
            return value.decode("utf-8", "surrogateescape")
        if lua_type(value) != "table":
            return value
        keys = list(value)
        if keys and all(isinstance(k, int) for k in keys):
            return [self.py(value[k]) for k in range(1, len(keys) + 1)]
        return {self.py(k): self.py(v) for k, v in value.items()}

    def run(self, code: str, *args: Any) -> Any:
        return self.lua.execute(code.encode(), *args)

    def request(self, **fields: Any) -> None:
        self.fake[b"request"](self.table(fields))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> type[World]:
    return World
