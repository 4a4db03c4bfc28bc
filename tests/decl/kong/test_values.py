"""Single values, as a Kong 3.9.3 took or refused them at POST /config."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from decl.kong import expressions, values

Check = Callable[[str], str | None]


@pytest.mark.parametrize(
    ("check", "value", "why"),
    [
        (values.route_path, "/a//b", "empty segments"),
        (values.route_path, "~/a//b", "empty segments"),
        (values.route_path, "/a/../b", "consider use '/b' instead"),
        (values.route_path, "/./a", "consider use '/a' instead"),
        (values.route_path, "/%41", "consider use '/A' instead"),
        (values.route_path, "/%zz", "invalid url-encoded value"),
        (values.route_path, "~/[", "invalid regex"),
        (values.route_path, "~a", "should start with"),
        (values.route_host, "*.a.*", "at most one wildcard"),
        (values.route_host, "a*", "leftmost or rightmost"),
        (values.host, "a..b", "invalid value"),
        (values.host, "a:80", "must not have a port"),
        (values.upstream_name, "1.2.3.4", "no ip addresses"),
        (values.target, "256.1.1.1", "not a valid hostname"),
        (values.sni, "1.2.3.4", "must not be an IP"),
        (values.name, "a b", "only accepted ascii"),
        (values.address, "1.1.1.0/33", "invalid ip or cidr range"),
        (values.address, "x", "invalid ip or cidr range"),
        (values.redirect_uri, "x", "cannot parse"),
        (values.redirect_uri, "http://a#b", "fragment not allowed"),
    ],
)
def test_refused(check: Check, value: str, why: str) -> None:
    assert why in (check(value) or "taken")


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (values.route_path, "/a b"),
        (values.route_path, "/a?b"),
        (values.route_path, "/%2F"),
        (values.route_path, "/é"),
        (values.route_path, "~/(?-i)a"),
        (values.route_path, "~/(?x)a b"),
        (values.route_path, "~/(?U)a+"),
        (values.route_path, "~/(?i:a)b(?s)"),
        (values.route_path, r"~/\p{L}\z"),
        (values.route_host, "*.a:80"),
        (values.host, "a_b"),
        (values.host, "[::1]"),
        (values.target, "::1"),
        (values.name, "日本"),
        (values.address, "10.1.2.3/8"),
        (values.address, "::1"),
        (values.redirect_uri, "https://a.b/c?d"),
        (values.redirect_uri, "app://callback"),
    ],
)
def test_taken(check: Check, value: str) -> None:
    assert check(value) is None
    if value.startswith("~"):
        assert expressions.bad_regex(value[1:]) is None
