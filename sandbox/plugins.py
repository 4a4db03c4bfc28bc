"""Which plugins there are: Lua ones on the path, external ones by their query command, the bundled few.

A Lua plugin wins over an external one of the same name, silently, as in Kong.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from lupa.luajit21 import LuaError, lua_type

from sandbox.fields import NULL_ONLY, required_records
from sandbox.lua_runtime import Lua, PluginLoadError, lua_text
from sandbox.settings import BUNDLED, PluginServer, Settings

_QUERY_SECONDS = 10


def load_all(lua: Lua, settings: Settings) -> dict[str, list[Mapping[str, Any]]]:
    """Defines every plugin of the settings in the runtime; gives the `fields` of their schemas by name.

    Raises PluginLoadError naming the plugin.
    """
    servers = {server.name: server for server in settings.pluginservers}
    schemas = {}
    for name in settings.plugins:
        handler = lua.require(f"kong.plugins.{name}.handler")
        if handler is not None:
            schema = lua.require(f"kong.plugins.{name}.schema")
            if schema is None:
                raise PluginLoadError(f"plugin {name}: kong.plugins.{name}.schema is not on the Lua path")
            lua.define(name, handler)
            schemas[name] = schema_fields(lua, schema)
        elif name in servers:
            schemas[name] = _external(lua, servers[name])
        elif name in BUNDLED:
            both = lua.require(f"shim.bundled.{name}")
            assert both is not None
            lua.define(name, both["handler"])
            schemas[name] = schema_fields(lua, both["schema"])
        else:
            raise PluginLoadError(
                f"plugin {name}: not found: no kong/plugins/{name}/handler.lua on KONG_LUA_PACKAGE_PATH, "
                f"no plugin server of that name, and none of the sandbox's own: {', '.join(BUNDLED)}"
            )
    return schemas


def _external(lua: Lua, server: PluginServer) -> list[Mapping[str, Any]]:
    info = _query(server)
    try:
        name, priority, phases, schema = info["Name"], info["Priority"], info["Phases"], info["Schema"]
        lua.define_external(name, priority, str(info.get("Version", "?")), list(phases))
        return list(required_records(_python_schema(list(schema["fields"]))))
    except (KeyError, TypeError) as e:
        raise PluginLoadError(f"plugin server {server.name}: incomplete info from query_cmd: {e}") from e


def _query(server: PluginServer) -> dict[str, Any]:
    try:
        run = subprocess.run(
            ["sh", "-c", server.query_cmd], capture_output=True, timeout=_QUERY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as e:
        raise PluginLoadError(
            f"plugin server {server.name}: query_cmd gave nothing in {_QUERY_SECONDS} s"
        ) from e
    if run.returncode != 0:
        why = run.stderr.decode(errors="replace").strip() or f"exit {run.returncode}"
        hint = "run `kgate plugin-info --run-dir DIR` first"
        raise PluginLoadError(f"plugin server {server.name}: query_cmd failed: {why} ({hint})")
    try:
        infos = json.loads(run.stdout)
        return dict(infos[0])
    except (ValueError, LookupError, TypeError) as e:
        raise PluginLoadError(
            f"plugin server {server.name}: query_cmd printed no JSON array of plugins: {e}"
        ) from e


def _python_schema(value: Any) -> Any:
    if isinstance(value, dict):
        out = {key: _python_schema(item) for key, item in value.items()}
        if "eq" in out and out["eq"] is None:
            out["eq"] = NULL_ONLY
        return out
    return [_python_schema(item) for item in value] if isinstance(value, list) else value


def schema_fields(lua: Lua, schema: Any) -> list[Mapping[str, Any]]:
    """The `fields` of a Lua schema as Python values; custom validators stay callable."""
    converted = _from_lua(lua, schema)
    return list(required_records(converted.get("fields") or []))


def _from_lua(lua: Lua, value: Any) -> Any:
    kind = lua_type(value)
    if kind == "table":
        items = list(value.items())
        if items and all(type(key) is int for key, _ in items):
            return [_from_lua(lua, value[i]) for i in range(1, len(items) + 1)]
        return {lua_text(key): _from_lua(lua, item) for key, item in items}
    if kind == "function":
        return _validator(lua, value)
    if kind == "userdata":
        return NULL_ONLY
    return lua_text(value) if isinstance(value, str) else value


def _validator(lua: Lua, function: Any) -> Any:
    def check(value: Any) -> str | None:
        try:
            result = function(lua.values.to_lua(value))
        except LuaError as e:
            return str(e)
        ok, message = result if isinstance(result, tuple) else (result, None)
        return None if ok else lua_text(message or "invalid value")

    return check
