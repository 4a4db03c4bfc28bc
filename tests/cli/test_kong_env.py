"""kgate kong-env: roles, groups, and the warning about other plugin servers."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.main import main

CERTS = {"KONG_CLUSTER_CERT": "/etc/kong/cluster.crt", "KONG_CLUSTER_CERT_KEY": "/etc/kong/cluster.key"}


def run(*args: str, **env: str) -> Result:
    return CliRunner().invoke(main, ["kong-env", *args], standalone_mode=False, env=env or None)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], {}),
        (["--role", "traditional"], {}),
        (["--role", "control_plane"], {"KONG_ROLE": "control_plane", "KONG_DATABASE": "postgres", **CERTS}),
        (
            ["--role", "data_plane"],
            {
                "KONG_ROLE": "data_plane",
                "KONG_DATABASE": "off",
                "KONG_CLUSTER_CONTROL_PLANE": "kong-cp:8005",
                **CERTS,
            },
        ),
        (
            ["--role", "data_plane", "--control-plane", "cp:9005", "--cluster-cert", "/c/x.pem"],
            {
                "KONG_ROLE": "data_plane",
                "KONG_DATABASE": "off",
                "KONG_CLUSTER_CONTROL_PLANE": "cp:9005",
                "KONG_CLUSTER_CERT": "/c/x.pem",
                "KONG_CLUSTER_CERT_KEY": "/c/x.key",
            },
        ),
    ],
)
@pytest.mark.parametrize("lane", ["pdk", "express"])
def test_roles(lane: str, args: list[str], expected: dict[str, str]) -> None:
    plain = json.loads(run("--lane", lane, "--format", "json").stdout)
    assert json.loads(run("--lane", lane, *args, "--format", "json").stdout) == plain | expected
    # both planes know the plugins: the control plane checks their configs
    assert "kgate-facts" in plain["KONG_PLUGINS"]


def test_no_server_is_started_beside_a_control_plane() -> None:
    assert "kgate plugin-info --run-dir /run/kgate" in run("--lane", "pdk", "--role", "control_plane").stdout
    express = run("--lane", "express", "--role", "control_plane").stdout
    assert "nothing of it is needed there" in express
    assert "kgate serve" not in express


def test_a_group_by_its_number_is_the_containers() -> None:
    result = run("--lane", "express", "--format", "compose", "--group", "10542")
    told = yaml.safe_load(result.stdout)
    assert told["group_add"] == ["10542"]
    assert "KONG_NGINX_USER" not in told["environment"]
    assert "kgate serve --run-dir /run/kgate --group 10542" in result.stdout


def test_a_group_by_its_name_is_nginxs() -> None:
    told = yaml.safe_load(run("--lane", "express", "--format", "compose", "--group", "gateway").stdout)
    assert told["environment"]["KONG_NGINX_USER"] == "kong gateway"
    assert "group_add" not in told


@pytest.mark.parametrize("group", ["10542", "a b", "", "-x", "１０"])
def test_a_group_that_nginx_does_not_take(group: str) -> None:
    result = CliRunner().invoke(main, ["kong-env", "--group", group])
    assert result.exit_code == 2
    assert "--group" in result.stderr


@pytest.mark.parametrize(
    ("lane", "named", "warned"),
    [
        ("pdk", "billing,passport, audit", "billing, audit"),
        ("pdk", "passport,abuse-guard", ""),
        ("pdk", "", ""),
        ("express", "billing", ""),
    ],
)
def test_other_plugin_servers_are_warned_of(lane: str, named: str, warned: str) -> None:
    result = run("--lane", lane, KONG_PLUGINSERVER_NAMES=named)
    assert ("warning:" in result.stderr) is bool(warned)
    assert warned in result.stderr
    assert ("bounds all plugin servers" in result.stderr) is (lane == "pdk")
    assert "warning" not in result.stdout
