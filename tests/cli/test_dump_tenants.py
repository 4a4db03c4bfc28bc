"""dump --per-tenant: what kgate rendered comes back in source form, and makes no difference when loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from decl import probe
from tests.decl.db_node import DbNode, db_node
from tests.kong_plugins.adapter.conftest import ADAPTER

FRAME = """_format_version: "3.0"
clusters:
  one: {{mode: {mode}, nodes: ["{url}"], trusted_ips: []}}
  two: {{mode: {mode}, nodes: ["http://127.0.0.1:9"], trusted_ips: []}}
issuers:
- {{name: main, iss: "https://auth.example.com", jwks_url: "http://auth:9000/jwks", audiences: [shop]}}
"""
TENANTS = """_format_version: "3.0"
tenants:
- name: order
  cluster: one
  standby: two
  owner: team-order
  hosts: [order.example.com, "*.order.example.com"]
  tags: [money]
  limits: {services: 5}
  dns: {zone: example.com, ttl: 30}
  plugins:
  - {name: abuse-guard}
  - {name: passport, config: {issuers: [main]}}
- {name: gateway, cluster: one, hosts: [gateway.example.com]}
services:
- name: checkout
  tenant: order
  url: http://10.0.0.5:8080/base
  routes:
  - {name: checkout, paths: [/checkout]}
  - {name: own, paths: [/own], hosts: [own.example.com], tags: [x]}
  plugins:
  - {name: canary-router, config: {name: c1, upstream: v2, percent: 5}}
  - name: static-fallback
    config: {responses: [{"on": [502, timeout], json: {items: []}}]}
- name: cart
  tenant: order
  url: https://cart.internal
  read_timeout: 5000
  routes: [{name: cart, paths: [/cart], methods: [GET]}]
- name: list
  tenant: order
  url: http://list.internal
  routes: [{name: list, paths: [/list]}]
  plugins: [{name: abuse-guard, config: {deny: [203.0.113.0/24]}}]
- name: page
  tenant: gateway
  url: http://page.internal
  routes: [{name: page, paths: [/page]}]
- name: plain
  url: http://plain.internal
  routes: [{name: plain, paths: [/plain], hosts: [plain.example.com]}]
upstreams:
- {name: v2, tenant: order, targets: [{target: "10.0.0.9:80", weight: 10}]}
consumers:
- {username: kim, acls: [{group: gold}]}
plugins:
- {name: cors, config: {origins: ["https://shop.example.com"]}}
"""
BASE = {
    "KONG_PLUGINS": "bundled,kgate,kgate-facts,passport,static-fallback,canary-router,abuse-guard",
    "KONG_LUA_PACKAGE_PATH": f"{ADAPTER}/express/?.lua;{ADAPTER}/common/?.lua;;",
}


@pytest.fixture(scope="module", params=["dbless", "db"])
def running(request: pytest.FixtureRequest) -> Iterator[tuple[str, DbNode]]:
    database = "off" if request.param == "dbless" else "postgres"
    with db_node(**BASE, KONG_DATABASE=database) as found:
        yield request.param, found


@pytest.fixture
def node(running: tuple[str, DbNode], own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> DbNode:
    """A node that holds the config of the tenants; they stand in the folder with the frame."""
    mode, found = running
    monkeypatch.setattr(probe, "propagation_time", lambda node: 0.0)
    Path("frame.yaml").write_text(FRAME.format(mode=mode, url=found.admin))
    Path("tenants.yaml").write_text(TENANTS)
    kgate("-f", "frame.yaml", "-f", "tenants.yaml", "sync", "--cluster", "one", "--yes")
    return found


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result


def diff(*files: str, cluster: str = "one", code: int = 0) -> str:
    named = [part for file in ("frame.yaml", *files) for part in ("-f", file)]
    return kgate(*named, "diff", "--cluster", cluster, code=code).stdout


def loaded(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(path).read_text())
    return found


def test_loaded_again_it_makes_no_difference(node: DbNode) -> None:
    assert diff("tenants.yaml") == "cluster one: no changes\n"
    kgate("dump", "--node", node.admin, "--per-tenant", "-o", "out")
    # without a database: from other bytes
    assert diff("out").startswith("cluster one: no changes")
    # and a part of it is missed
    Path("out/order.yaml").unlink()
    assert "- service checkout" in diff("out", code=exit_codes.CHANGES_PENDING)


def test_what_comes_back_of_a_tenant(node: DbNode) -> None:
    kgate("dump", "--node", node.admin, "--per-tenant", "-o", "out")
    (tenant,) = loaded("out/order.yaml")["tenants"]
    (written,) = (each for each in yaml.safe_load(TENANTS)["tenants"] if each["name"] == "order")
    # a node does not hold the rest: which cluster, which zone
    assert tenant == {name: written[name] for name in ("name", "owner", "hosts", "tags", "plugins")}
    services = {service["name"]: service for service in loaded("out/order.yaml")["services"]}
    source = {service["name"]: service for service in yaml.safe_load(TENANTS)["services"]}
    assert services == {name: source[name] for name in ("cart", "checkout", "list")}
    assert loaded("out/order.yaml")["upstreams"] == yaml.safe_load(TENANTS)["upstreams"]


def test_where_files_tell_of_the_tenant_the_rest_comes_from_them(node: DbNode) -> None:
    kgate("-f", "frame.yaml", "-f", "tenants.yaml", "dump", "--cluster", "one", "--per-tenant", "-o", "out")
    (tenant,) = loaded("out/order.yaml")["tenants"]
    (written,) = (each for each in yaml.safe_load(TENANTS)["tenants"] if each["name"] == "order")
    assert tenant == written
    assert diff("out").startswith("cluster one: no changes")


def test_a_tenant_of_the_name_of_the_rest(node: DbNode) -> None:
    written = kgate("dump", "--node", node.admin, "--per-tenant", "-o", "out").stdout
    assert len(set(written.removeprefix("wrote ").strip().split(", "))) == 3
    assert [path.name for path in sorted(Path("out").iterdir())] == [
        "gateway.yaml",
        "order.yaml",
        "tenant-gateway.yaml",
    ]
    assert [service["name"] for service in loaded("out/gateway.yaml")["services"]] == ["plain"]
    assert [service["name"] for service in loaded("out/tenant-gateway.yaml")["services"]] == ["page"]


def test_a_tenants_tag_does_not_pick_its_plugins(node: DbNode) -> None:
    """They have none of it: the dump is no whole tenant, and says so."""
    told = kgate(
        "dump", "--node", node.admin, "--select-tag", "kgate-tenant:order", "-o", "order.yaml"
    ).stderr
    assert "passport" not in Path("order.yaml").read_text()
    assert "left out, for want of the tags: plugin " in told
    assert " on service cart" in told
    assert " more; --per-tenant has all of a tenant" in told
    kgate("-f", "frame.yaml", "-f", "tenants.yaml", "dump", "--cluster", "one", "-o", "all.yaml")
    assert "left out" not in kgate("dump", "--node", node.admin, "-o", "all.yaml").stderr
