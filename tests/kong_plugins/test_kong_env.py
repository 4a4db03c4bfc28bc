"""The settings of a stock Kong for each lane."""

from pathlib import Path

from kong_plugins.kong_env import ADAPTER_DIR, kong_env

RUN = Path("/run/kgate")


def test_the_express_lane_puts_both_folders_on_the_lua_path() -> None:
    env = kong_env(RUN, "express")
    assert env["KONG_LUA_PACKAGE_PATH"] == f"{ADAPTER_DIR}/common/?.lua;{ADAPTER_DIR}/express/?.lua;;"
    assert not [name for name in env if name.startswith("KONG_PLUGINSERVER")]


def test_the_pdk_lane_names_a_socket_and_a_query_command_for_each_plugin() -> None:
    env = kong_env(RUN, "pdk", Path("/opt/a"))
    assert env["KONG_LUA_PACKAGE_PATH"] == "/opt/a/common/?.lua;;", "a Lua plugin of the same name would win"
    assert env["KONG_PLUGINSERVER_NAMES"] == "abuse-guard,passport,canary-router,static-fallback"
    assert env["KONG_PLUGINSERVER_ABUSE_GUARD_SOCKET"] == "/run/kgate/abuse-guard-direct.sock"
    assert env["KONG_PLUGINSERVER_ABUSE_GUARD_QUERY_CMD"] == "cat /run/kgate/abuse-guard.json"
    assert env["KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT"] == "300ms"
    assert not [name for name in env if name.endswith("START_CMD")], "Kong#14260: it breaks the Admin API"


def test_both_lanes_enable_the_adapter_and_the_four() -> None:
    plugins = "bundled,kgate-facts,kgate,abuse-guard,passport,canary-router,static-fallback"
    assert {kong_env(RUN, "pdk")["KONG_PLUGINS"], kong_env(RUN, "express")["KONG_PLUGINS"]} == {plugins}


def test_kongs_own_group_needs_no_setting_another_one_is_nginxs() -> None:
    assert "KONG_NGINX_USER" not in kong_env(RUN, "express")
    assert kong_env(RUN, "express", group="gateway")["KONG_NGINX_USER"] == "kong gateway"
