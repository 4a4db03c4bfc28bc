"""The doctor's checks over a table of broken installations: each names its fault and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.doctor.checks.adapter import fits
from cli.doctor.model import (
    Adapter,
    Entry,
    Key,
    Local,
    Node,
    Proxy,
    Redis,
    Server,
    Socket,
    Who,
    World,
)
from cli.doctor.registry import CHECKS, examine
from decl.probe import adapter_hash
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import direct_socket, kong_env

RUN = Path("/run/kgate")
CONFIG = {"socket": "/run/kgate/express.sock", "strip": ["X-Passport"]}
DAY = 86_400.0
PRIORITIES = {
    "kgate-facts": 1906,
    "abuse-guard": 1905,
    "passport": 1904,
    "canary-router": 1903,
    "static-fallback": 1902,
    "kgate": 1900,
    "jwt": 1450,
    "cors": 2000,
    "session": 1900,
}
FILE, DIR = 0o140660, 0o042750


def node(lane: str = "express", **settings: Any) -> Node:
    """A sound node; settings replace Kong's."""
    env = kong_env(RUN, lane, Path("/opt/kgate/adapter"))  # type: ignore[arg-type]
    told: dict[str, Any] = {
        "role": "traditional",
        "database": "off",
        "untrusted_lua": "sandbox",
        "lua_package_path": env["KONG_LUA_PACKAGE_PATH"],
        "loaded_plugins": dict.fromkeys(PRIORITIES, True),
        "trusted_ips": ["10.0.0.0/16"],
        "real_ip_header": "X-Real-IP",
        "pluginservers": {},
        "nginx_proxy_directives": [{"name": "real_ip_header", "value": "X-Real-IP"}],
    }
    if lane == "pdk":
        told["pluginservers"] = [{"name": name, "socket": str(direct_socket(RUN, name))} for name in PLUGINS]
        told["nginx_proxy_directives"] = [{"name": "lua_socket_read_timeout", "value": "300ms"}]
    available = {
        name: {"priority": value, "version": "0.1.0" if value >= 1900 else "3.9.3"}
        for name, value in PRIORITIES.items()
    }
    info = {
        "version": "3.9.3",
        "configuration": told | settings,
        "plugins": {"available_on_server": available},
    }
    return Node("http://kong:8001", info, skew=0.2, plugins=instances())


def instances(**more: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": "kgate", "config": CONFIG, "enabled": True},
        {"name": "kgate-facts", "config": {}, "enabled": True},
        {"name": "passport", "route": {"id": "r"}, "enabled": True},
        *({"name": name, **each} for name, each in more.items()),
    ]


def sound() -> World:
    sockets = [Socket("express", RUN / "express.sock", Entry(RUN / "express.sock", FILE, 900, 10542))]
    return World(
        nodes=[node()],
        proxies=[Proxy("http://kong:8000", adapter_hash(CONFIG))],
        local=Local(RUN, Entry(RUN, DIR, 900, 10542), sockets, Who(1001, frozenset({1001, 10542}))),
        adapters=[Adapter(Path("/opt/kgate/adapter"))],
        redis=Redis("redis://redis:6379/0", "", "7.4.5", "noeviction", "master", 10, 1000, 0.1),
        keys=[Key("k2", "current", 10 * DAY), Key("k1", "previous", 99 * DAY)],
        servers=[
            Server(
                "http://kgate:9542", ready={"ready": True, "problems": [], "warnings": []}, version="0.1.0"
            )
        ],
        version="0.1.0",
    )


def with_node(**changes: Any) -> Callable[[World], World]:
    return lambda world: world._replace(nodes=[world.nodes[0]._replace(**changes)])


def with_settings(lane: str = "express", **settings: Any) -> Callable[[World], World]:
    return lambda world: world._replace(nodes=[node(lane, **settings)])


def with_priority(name: str, value: int) -> Callable[[World], World]:
    def change(world: World) -> World:
        info = dict(world.nodes[0].info or {})
        known = {**info["plugins"]["available_on_server"], name: {"priority": value, "version": "0.1.0"}}
        plugins = instances(**{name: {}}) if name not in PRIORITIES else instances()
        info["plugins"] = {"available_on_server": known}
        return world._replace(nodes=[world.nodes[0]._replace(info=info, plugins=plugins)])

    return change


def with_adapter_version(version: str) -> Callable[[World], World]:
    def change(world: World) -> World:
        info = dict(world.nodes[0].info or {})
        known = {**info["plugins"]["available_on_server"], "kgate": {"priority": 1900, "version": version}}
        return world._replace(
            nodes=[world.nodes[0]._replace(info={**info, "plugins": {"available_on_server": known}})]
        )

    return change


def with_(field: str, **changes: Any) -> Callable[[World], World]:
    """The world with one part changed; of a list its first member."""

    def change(world: World) -> World:
        part = getattr(world, field)
        if isinstance(part, list):
            return world._replace(**{field: [part[0]._replace(**changes)]})
        return world._replace(**{field: part._replace(**changes)})

    return change


def socket(mode: int = FILE, gid: int = 10542, **more: Any) -> dict[str, Any]:
    path = RUN / "express.sock"
    return {"sockets": [Socket("express", path, Entry(path, mode, 900, gid), **more)]}


LOADED = dict.fromkeys(PRIORITIES, True)
OTHERS = [*({"name": name} for name in PLUGINS), {"name": "billing"}]
BEFORE = [{"name": name, "socket": f"/run/kgate/{name}.sock"} for name in PLUGINS]
BOUND = [{"name": "lua_socket_read_timeout", "value": "300ms"}]

BROKEN: list[tuple[str, Callable[[World], World], str, str, str]] = [
    # check, what is broken, status, part of what is said, part of what to do
    (
        "kong-version",
        with_node(info=None, error="is away: Connection refused"),
        "error",
        "refused",
        "start Kong",
    ),
    ("kong-version", with_node(info=None, error="HTTP 500", status=500), "error", "500", "start_cmd"),
    ("kong-version", with_node(info={"version": "2.8.1"}), "error", "2.8.1", "install Kong 3.9"),
    ("kong-version", with_node(info={"version": "3.10.0"}), "warning", "3.10.0", "tests/e2e"),
    ("kong-version", with_node(info={"version": "3.4.2"}), "warning", "proven with 3.9", "3.9"),
    (
        "kong-version",
        with_node(info={"version": "3.9.3", "sandbox": "..."}),
        "warning",
        "sandbox",
        "kong:3.9",
    ),
    (
        "kong-settings",
        with_settings(untrusted_lua="on"),
        "error",
        "owns the worker",
        "KONG_UNTRUSTED_LUA=sandbox",
    ),
    (
        "kong-settings",
        with_settings(lua_package_path="/a/?.lua;/b/?.lua;/k/common/?.lua;/k/express/?.lua;;"),
        "warning",
        "not the first",
        "KONG_LUA_PACKAGE_PATH",
    ),
    (
        "plugins",
        with_settings(loaded_plugins={"jwt": True}),
        "error",
        "kgate-facts, kgate, abuse-guard",
        "kong-env",
    ),
    ("plugins", with_node(plugins=[]), "error", "run for no request", "kgate sync"),
    (
        "plugins",
        with_node(plugins=[{**each, "enabled": False} for each in instances()]),
        "error",
        "no request",
        "sync",
    ),
    (
        "plugins",
        with_node(plugins=[{**each, "route": {"id": "r"}} for each in instances()]),
        "error",
        "no request",
        "sync",
    ),
    (
        "plugin-servers",
        with_settings("pdk", pluginservers=OTHERS, nginx_proxy_directives=BOUND),
        "warning",
        "billing: bounded by our read timeout, 300 ms",
        "--lane express",
    ),
    (
        "plugin-servers",
        with_settings("pdk", pluginservers=OTHERS[1:4]),
        "error",
        "no plugin server for abuse-guard",
        "kong-env",
    ),
    (
        "plugin-servers",
        with_settings(pluginservers=[{"name": "billing", "start_command": "b"}]),
        "warning",
        "500 to GET /",
        "start_cmd",
    ),
    ("plugin-servers", with_settings(pluginservers=OTHERS[:1]), "warning", "silently", "KONG_PLUGINSERVER_"),
    (
        "plugin-servers",
        with_settings("pdk", pluginservers=BEFORE),
        "warning",
        "static-fallback: on the sockets of the version before",
        "kgate kong-env",
    ),
    ("priorities", with_priority("passport", 900), "error", "passport 900", "Lua path"),
    ("priorities", with_priority("billing", 1905), "error", "billing runs among", "1900"),
    ("priorities", with_priority("billing", 5000), "warning", "billing runs before", "1900"),
    ("adapter", with_("adapters", there=False), "error", "no adapter in it", "mount"),
    ("adapter", with_("adapters", missing=["common/a.lua"]), "error", "missing: common/a.lua", "copy"),
    (
        "adapter",
        with_("adapters", changed=[f"common/{c}.lua" for c in "abcde"]),
        "error",
        "and 2 more",
        "copy",
    ),
    ("adapter", with_("adapters", extra=["express/x.lua"]), "warning", "express/x.lua", "take them out"),
    (
        "adapter",
        with_adapter_version("0.2.0"),
        "error",
        "adapter 0.2.0, this kgate is 0.1.0",
        "up to date first",
    ),
    ("adapter", with_adapter_version("1.1.0"), "error", "1.1.0", "up to date first"),
    (
        "probe",
        with_("proxies", hash=None, error="no answer"),
        "error",
        "no adapter answers: no answer",
        "kgate sync",
    ),
    ("probe", with_("proxies", hash="0" * 32), "warning", "another config", "db_update_frequency"),
    ("timeouts", with_settings("pdk", nginx_proxy_directives={}), "error", "60 s", "READ_TIMEOUT=300ms"),
    (
        "timeouts",
        with_settings("pdk", nginx_proxy_directives=[{**BOUND[0], "value": "10s"}]),
        "error",
        "10000 ms",
        "300ms",
    ),
    (
        "timeouts",
        with_settings("pdk", nginx_proxy_directives=[{**BOUND[0], "value": "20ms"}]),
        "warning",
        "good answers",
        "300ms",
    ),
    (
        "trusted-ips",
        with_settings(trusted_ips=["0.0.0.0/0"]),
        "error",
        "itself which address",
        "load balancers",
    ),
    ("trusted-ips", with_settings(trusted_ips=["10.0.0.1", "::/0"]), "error", "::/0", "load balancers"),
    ("trusted-ips", with_settings(trusted_ips={}), "warning", "nobody is trusted", "trusted_ips: []"),
    ("trusted-ips", with_settings(real_ip_header="X-Forwarded-For"), "warning", "recursive", "RECURSIVE=on"),
    (
        "trusted-ips",
        lambda world: world._replace(trusted_ips=["10.9.0.0/16"]),
        "error",
        "the file says 10.9.0.0/16",
        "the same",
    ),
    ("socket", with_("local", folder=None, error="No such file"), "error", "No such file", "shared volume"),
    ("socket", with_("local", folder=Entry(RUN, 0o40777, 0, 0)), "error", "mode 0777", "chmod 2750"),
    ("socket", with_("local", folder=Entry(RUN, 0o40770, 900, 10542)), "warning", "of its own", "chmod 2750"),
    ("socket", with_("local", folder=Entry(RUN, DIR, 900, 900)), "error", "may not: mode 2750", "--group"),
    ("socket", with_("local", worker=None), "skipped", "not known", "--kong-group"),
    (
        "socket",
        with_("local", sockets=[Socket("express", RUN / "express.sock")]),
        "error",
        "no socket",
        "kgate serve",
    ),
    ("socket", with_("local", **socket(0o140666)), "error", "everybody may connect", "chmod 0660"),
    ("socket", with_("local", **socket(0o140600)), "error", "may not: mode 0600", "--group"),
    ("socket", with_("local", **socket(gid=900)), "error", "group 900", "--group"),
    (
        "socket",
        with_("local", **socket(error="Connection refused")),
        "error",
        "Connection refused",
        "restart",
    ),
    (
        "socket",
        with_("local", run_dir=Path("/run/other")),
        "error",
        "talks to /run/kgate/express.sock",
        "the same",
    ),
    ("server", with_("servers", error="is away"), "error", "is away", "--metrics-listen"),
    (
        "server",
        with_("servers", ready={"problems": ["no key of issuer main"]}),
        "error",
        "issuer main",
        "jwks_url",
    ),
    (
        "server",
        with_("servers", ready={"warnings": ["the control state may be old"]}),
        "warning",
        "old",
        "Redis",
    ),
    (
        "server",
        with_("servers", version="0.0.9"),
        "error",
        "it is 0.0.9, Kong's adapter is 0.1.0",
        "server up to date",
    ),
    (
        "server",
        with_("servers", metrics={"kgate_refused_peers_total": 3.0}),
        "warning",
        "3 connections",
        "--group",
    ),
    ("redis", with_("redis", error="Connection refused"), "error", "refused", "last control state"),
    (
        "redis",
        with_("redis", policy="allkeys-lru"),
        "error",
        "allkeys-lru: when its 1,000 bytes are full",
        "noeviction",
    ),
    (
        "redis",
        with_("redis", policy="volatile-lru", limit=0),
        "warning",
        "as soon as maxmemory is set",
        "noeviction",
    ),
    ("redis", with_("redis", policy=None), "skipped", "does not tell", "+info"),
    ("redis", with_("redis", role="slave"), "error", "slave", "primary"),
    ("redis", with_("redis", used=950), "warning", "950 of 1,000", "raise maxmemory"),
    ("clock", with_node(skew=-61.0), "error", "61 s behind", "NTP"),
    ("clock", with_("redis", skew=3.0), "warning", "3 s ahead of", "NTP"),
    (
        "keys",
        lambda world: world._replace(keys=[Key("k", "current", 91 * DAY)]),
        "warning",
        "91 days",
        "rotate",
    ),
    ("keys", lambda world: world._replace(keys=[Key("k", "revoked", DAY)]), "error", "no key signs", "keys"),
]


def test_a_sound_installation_has_nothing_to_mend() -> None:
    for world in (sound(), sound()._replace(nodes=[node("pdk")])):
        assert [result for result in examine(world) if result.status != "ok"] == []
        assert world.reached
    assert {result.check for result in examine(sound())} == {*CHECKS} - {"data-planes"}


@pytest.mark.parametrize(("check", "fault", "status", "said", "do"), BROKEN)
def test_a_broken_installation(
    check: str, fault: Callable[[World], World], status: str, said: str, do: str
) -> None:
    found = [
        result for result in examine(fault(sound())) if result.check == check and result.status == status
    ]
    assert [1 for result in found if said in result.said and do in result.do], found


def test_every_finding_says_what_to_do() -> None:
    for _, fault, *_ in BROKEN:
        for result in examine(fault(sound())):
            assert bool(result.do) or result.status == "ok", result
    # every check has a row in the table
    assert {row[0] for row in BROKEN} | {"data-planes"} == set(CHECKS)


def test_nothing_asked_for_is_said_to_be_skipped_and_nothing_reached() -> None:
    world = World(nodes=[Node("http://kong:8001", error="is away")])
    assert not world.reached
    told = examine(world)
    assert {result.check for result in told if result.status == "skipped"} >= {
        "probe",
        "socket",
        "redis",
        "keys",
    }


def test_a_control_plane_needs_no_sockets_and_they_are_looked_at_where_there_are() -> None:
    planes = sound()._replace(nodes=[node(role="control_plane")._replace(planes=[PLANE])])
    nowhere = planes._replace(local=Local(RUN, error="No such file"))
    assert [result.status for result in CHECKS["socket"](nowhere)] == ["skipped"]
    assert {result.status for result in CHECKS["socket"](planes)} == {"ok"}


PLANE = {"hostname": "dp-1", "version": "3.9.3", "sync_status": "normal", "config_hash": "a"}


@pytest.mark.parametrize(
    ("planes", "status", "said"),
    [
        ([PLANE], "ok", "has the control plane's config"),
        ([{**PLANE, "silent": 29.0}], "ok", "has the control plane's config"),
        ([{**PLANE, "silent": 400.0}], "error", "not heard of for 400 s"),
        ([], "warning", "no data plane"),
        (None, "skipped", "could not be read"),
        ([{**PLANE, "sync_status": "plugin_set_incompatible"}], "error", "plugin set incompatible"),
        ([{**PLANE, "version": "3.8.0"}], "warning", "Kong 3.8.0"),
        ([PLANE, {**PLANE, "config_hash": "b"}], "warning", "different configs"),
    ],
)
def test_a_control_plane(planes: Any, status: str, said: str) -> None:
    made = node(role="control_plane", trusted_ips={})._replace(planes=planes)
    told = examine(sound()._replace(nodes=[made]))
    found = [result for result in told if result.check == "data-planes"]
    assert (found[0].status, said in found[0].said) == (status, True)
    # it serves no requests: what only these need is not asked of it
    for check in ("timeouts", "trusted-ips"):
        assert {result.status for result in told if result.check == check} == {"skipped"}


@pytest.mark.parametrize(
    ("adapter", "server", "expected"),
    [
        ("0.1.0", "0.1.9", True),
        ("0.1.0", "0.2.0", True),
        ("0.1.0", "0.3.0", False),
        ("0.2.0", "0.1.0", False),
        ("1.0.0", "0.9.0", False),
        ("x", "x", True),
        ("x", "0.1.0", False),
    ],
)
def test_which_server_serves_which_adapter(adapter: str, server: str, expected: bool) -> None:
    assert fits(adapter, server) is expected
