"""KONG_* variables."""

from __future__ import annotations

import pytest

from sandbox.settings import load


def test_defaults_are_kongs() -> None:
    s = load({})
    assert s.read_timeout == 60
    assert s.real_ip_header == "X-Real-IP"
    assert s.plugins == ("cors", "key-auth", "request-termination")


def test_names_with_dashes_have_underscores_in_variables() -> None:
    s = load(
        {
            "KONG_PLUGINS": "bundled,a-b",
            "KONG_PLUGINSERVER_NAMES": "a-b",
            "KONG_PLUGINSERVER_A_B_SOCKET": "/run/a.sock",
            "KONG_PLUGINSERVER_A_B_QUERY_CMD": "cat /run/a.json",
            "KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT": "300ms",
        }
    )
    assert s.plugins[-1] == "a-b"
    assert s.pluginservers[0].socket == "/run/a.sock"
    assert s.read_timeout == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KONG_PROXY_LISTEN", "8000"),
        ("KONG_TRUSTED_IPS", "10.0.0.0/8,home"),
        ("KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT", "soon"),
        ("KONG_PLUGINSERVER_NAMES", "x"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"^KONG_"):
        load({name: value})
