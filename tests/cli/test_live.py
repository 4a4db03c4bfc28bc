"""dump, schema pull, validate --online and failover against a running node (the sandbox's, DB-less)."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from decl.http import Pool
from tests.decl.db_node import DbNode, db_node
from tests.kong_plugins.adapter.conftest import ADAPTER

RUN = CliRunner()
SOURCE = """_format_version: "3.0"
clusters:
  main: {nodes: ["%s"], trusted_ips: [], dns: {cname: main.example.net}}
  spare: {nodes: ["%s"], proxy: ["%s"], dns: {addresses: [203.0.113.9, "2001:db8::9"], ttl: 30}}
  away: {nodes: ["http://127.0.0.1:9"], dns: {cname: away.example.net}}
issuers:
- {name: main, iss: "https://auth.example.com", jwks_url: "http://auth:9000/jwks", audiences: [shop]}
tenants:
- name: order
  cluster: main
  standby: spare
  hosts: [order.example.com, "order.*", example.com]
  owner: team-order
  tags: [money]
  plugins:
  - {name: passport, config: {issuers: [main]}}
  - {name: request-termination, tags: ["expires:2199-01-01"], config: {status_code: 418}}
- {name: other, owner: o, cluster: main, standby: away, hosts: [a.example]}
services:
- name: checkout
  tenant: order
  url: http://10.0.0.5:8080/base
  retries: 1
  read_timeout: 5000
  routes:
  - {name: checkout, paths: [/checkout]}
  - {name: own, paths: [/own], hosts: [own.example], tags: [x], strip_path: false}
  plugins:
  - name: static-fallback
    config: {responses: [{"on": [502, timeout], json: {items: []}}, {"on": [503], text: sorry}]}
  - {name: canary-router, config: {name: c1, upstream: v2, percent: 5}}
- name: cart
  tenant: order
  url: https://cart.internal
  routes:
  - {name: cart, paths: [/cart], methods: [GET, OPTIONS], plugins: [{name: cors}]}
routes:
- {name: bare, paths: [/bare]}
upstreams:
- {name: v2, targets: [{target: "10.0.0.9:80", weight: 10}], tenant: order, slots: 100}
consumers:
- username: partner
  custom_id: p-1
  keyauth_credentials: [{name: one, key: !env PARTNER_KEY}, {name: two, key: !env PARTNER_SECRET}]
  jwt_secrets: [{key: partner-iss, secret: !env PARTNER_SECRET}]
  acls: [{group: gold}]
  basicauth_credentials: [{username: ada, password: !file secret.txt}]
- {custom_id: only-custom}
plugins:
- {name: cors, route: own, config: {origins: ["https://a.example"]}}
vaults:
- {name: env, prefix: my-env, config: {prefix: KONG_}}
key_sets:
- name: ks
  keys:
  - kid: k1
    pem:
      public_key: |
        -----BEGIN PUBLIC KEY-----
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvwCKS4RjsmOBn19HUWoycoGrzHJW
        eIFWDW3VxOA+hwxGXniSLY/4vX8GDUWyFoOnWHGcdP8H9CuOveUOlGVK9Q==
        -----END PUBLIC KEY-----
"""
SETTINGS = {
    "KONG_DATABASE": "off",
    "KONG_PLUGINS": "bundled,kgate,kgate-facts,passport,static-fallback,canary-router,abuse-guard",
    "KONG_LUA_PACKAGE_PATH": f"{ADAPTER}/express/?.lua;{ADAPTER}/common/?.lua;;",
}


@pytest.fixture(scope="module")
def node() -> Iterator[DbNode]:
    with db_node(**SETTINGS) as found:
        yield found


@pytest.fixture
def kgate(node: DbNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run kgate in a folder with the files, on a node that has their config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARTNER_KEY", "key-of-the-partner")
    monkeypatch.setenv("PARTNER_SECRET", "secret-of-the-partner")
    Path("secret.txt").write_text("word-of-ada\n")
    Path("gateway.yaml").write_text(SOURCE % (node.admin, node.admin, node.proxy))

    def run(*args: str) -> Result:
        return RUN.invoke(main, list(args))

    load(run, node)
    return run


def load(run: Callable[..., Result], node: DbNode) -> None:
    """Give the node the config of the files."""
    result = run("render", "--cluster", "main", "-o", "kong.json")
    assert result.exit_code == 0, result.stderr
    content = Path("kong.json").read_bytes()
    assert ask(node, "POST", "/config", content, {"Content-Type": "text/yaml"}) == 201


def ask(node: DbNode, *request: Any) -> int:
    """The status of one request to the Admin API."""
    pool = Pool(node.admin)
    try:
        return pool.request(*request).status
    finally:
        pool.close()


def test_a_dump_makes_the_same_config_again(
    kgate: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, node: DbNode
) -> None:
    result = kgate("dump", "--node", node.admin)
    assert result.exit_code == 0, result.stderr
    for secret in ("key-of-the-partner", "secret-of-the-partner", "word-of-ada"):
        assert secret not in result.stdout + result.stderr
    assert "kgate-facts" not in result.stdout
    assert "kgate-protected" not in result.stdout
    assert "kgate-tenant" not in result.stdout
    clear = kgate("dump", "--node", node.admin, "--secrets", "clear", "-o", "again.yaml")
    assert clear.exit_code == 0, clear.stderr
    assert Path("again.yaml").stat().st_mode & 0o777 == 0o600
    # Kong has the hash of a password only, which is nothing to write
    assert clear.stderr == "set these before you render: KGATE_PARTNER_PASSWORD\n"
    text = Path("again.yaml").read_text()
    assert text.count("!env 'KGATE_PARTNER_PASSWORD'") == 1
    dumped = yaml.safe_load(text.replace("!env 'KGATE_PARTNER_PASSWORD'", "word-of-ada"))
    assert dumped["tenants"][0]["plugins"][0]["name"] == "passport"
    original = yaml.load(
        (SOURCE % ("a", "b", "c")).replace("!env ", "").replace("!file ", ""), yaml.SafeLoader
    )
    again = {"clusters": {"main": {}}, "issuers": original["issuers"], **dumped}
    Path("again.yaml").write_text(json.dumps(again))
    result = kgate("render", "-f", "again.yaml", "--cluster", "main", "-o", "again.json")
    assert result.exit_code == 0, result.stderr
    first, second = (_flat(json.loads(Path(name).read_text())) for name in ("kong.json", "again.json"))
    assert first == second


def test_a_dump_names_no_id_that_render_gives_and_a_variable_for_each_secret(
    kgate: Callable[..., Result], node: DbNode
) -> None:
    result = kgate("dump", "--node", node.admin)
    # which of several API keys is which, only the ids tell: these two stay
    assert [line.split()[:2] for line in result.stdout.splitlines() if " id: " in line] == [["-", "id:"]] * 2
    names = ["PARTNER_KEY", "PARTNER_KEY_2", "PARTNER_SECRET", "PARTNER_PASSWORD"]
    assert re.findall(r"(?:key|secret|password): !env '(\w+)'", result.stdout) == [
        f"KGATE_{n}" for n in names
    ]
    assert f"set these before you render: {', '.join(f'KGATE_{name}' for name in names)}" in result.stderr
    kgate("dump", "--node", node.admin, "--secrets", "clear", "-o", "clear.yaml")
    partner = yaml.safe_load(Path("clear.yaml").read_text().replace("!env ", ""))["consumers"][1]
    assert sorted(item["key"] for item in partner["keyauth_credentials"]) == [
        "key-of-the-partner",
        "secret-of-the-partner",
    ]
    assert partner["jwt_secrets"] == [{"key": "partner-iss", "secret": "secret-of-the-partner"}]


def _flat(document: dict) -> dict[str, dict]:
    found: dict[str, dict] = {}

    def walk(items: list[dict], parent: str) -> None:
        for item in items:
            lists = {n: v for n, v in item.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
            own = {n: v for n, v in item.items() if n not in lists}
            own["tags"] = sorted(own.get("tags", ()))
            found[item["id"]] = own
            for value in lists.values():
                walk(value, item["id"])

    for value in document.values():
        if isinstance(value, list):
            walk(value, "")
    return found


def test_one_file_a_tenant(kgate: Callable[..., Result], node: DbNode) -> None:
    result = kgate("dump", "--cluster", "main", "--per-tenant", "-o", "out", "--output", "json")
    assert json.loads(result.stdout)["files"] == ["out/gateway.yaml", "out/order.yaml"]
    assert "checkout" not in Path("out/gateway.yaml").read_text()
    names = [s["name"] for s in yaml.safe_load(Path("out/order.yaml").read_text())["services"]]
    assert names == ["cart", "checkout"]


@pytest.mark.parametrize(
    "args", [["--secrets", "clear"], ["--per-tenant"], ["--node", "kong:8001"], ["--node", "ftp://x"]]
)
def test_dump_used_wrongly(kgate: Callable[..., Result], args: list[str]) -> None:
    assert kgate("dump", *args).exit_code == exit_codes.USAGE


def test_a_node_that_is_away(kgate: Callable[..., Result]) -> None:
    for args in (["dump"], ["schema", "pull"], ["validate", "--online", "--cluster", "main"]):
        result = kgate(*args, "--node", "http://127.0.0.1:9")
        assert result.exit_code == exit_codes.FAILED, args
        assert "is the Admin API reachable" in result.stderr


def test_schema_pull_and_the_check_by_it(kgate: Callable[..., Result], node: DbNode) -> None:
    result = kgate("schema", "pull", "--node", node.admin, "--output", "json")
    found = json.loads(result.stdout)
    assert "kgate" in found["plugins"]
    assert "passport" not in found["plugins"]
    assert "cors" in found["plugins"]  # the node's own goes before the shipped one
    assert "description" not in Path(".kgate/schemas/kgate.json").read_text()
    Path(".kgate/schemas/gone.json").write_text("{}")
    assert json.loads(kgate("schema", "pull", "--output", "json", "--cluster", "main").stdout)["removed"] == [
        "gone"
    ]
    Path(".kgate.yaml").write_text("schemas: .kgate/schemas\n")
    assert kgate("validate").exit_code == 0
    Path("bad.yaml").write_text(
        '_format_version: "3.0"\nplugins:\n- {name: kgate-facts, config: {socket: 5}}\n'
    )
    result = kgate("validate", "-f", "bad.yaml", "--output", "parsable")
    assert "bad.yaml:3:40: [error] socket: expected text" in result.stdout
    assert kgate("schema", "pull", "--node", node.admin, "--plugin", "nope").exit_code == exit_codes.FAILED


def test_validate_online(kgate: Callable[..., Result]) -> None:
    assert kgate("validate", "--online", "--cluster", "main").exit_code == 0
    text = Path("gateway.yaml").read_text()
    own = "- {name: bare, paths: [/bare], plugins: [{name: of-nobody}]}"
    text = text.replace("- {name: bare, paths: [/bare]}", own)
    assert own in text
    Path("gateway.yaml").write_text(text)
    assert kgate("validate").exit_code == 0
    result = kgate("validate", "--online", "--cluster", "main", "--output", "parsable")
    assert result.exit_code == exit_codes.FINDINGS
    line = text.splitlines().index(own) + 1
    assert result.stdout.startswith(f"gateway.yaml:{line}:")
    assert "(kong)" in result.stdout


def test_failover(kgate: Callable[..., Result]) -> None:
    result = kgate("failover", "order", "--to", "spare", "--force", "--output", "json")
    found = json.loads(result.stdout)
    checks = {(check["what"]): check["ok"] for check in found["checks"]}
    assert checks["config"]
    assert found["skipped_hosts"] == ["order.*"]
    result = kgate("failover", "order", "--back")
    assert result.exit_code == 0, result.stderr
    assert yaml.safe_load("\n".join(result.stdout.splitlines()[1:])) == {
        "": {"ttl": 60, "type": "ALIAS", "value": "main.example.net."},
        "order": {"ttl": 60, "type": "CNAME", "value": "main.example.net."},
    }
    assert kgate("failover", "order", "--back", "--format", "zone").stdout.splitlines()[0] == (
        "order.example.com.\t60\tIN\tCNAME\tmain.example.net."
    )


def test_a_standby_that_is_well_needs_no_force(kgate: Callable[..., Result], node: DbNode) -> None:
    result = kgate("failover", "order", "--to", "spare", "--write", "dns", "--output", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["ready"] is True
    assert {(check["node"], check["what"], check["ok"]) for check in found["checks"]} == {
        (node.admin, "config", True),
        (node.admin, "upstream v2", True),
        (node.admin, "upstream kgate-checkout", True),
        (node.proxy, "adapter", True),
    }
    assert found["written"] == ["dns/example.com.yaml"]


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "admin"])
def test_a_standby_whose_adapter_does_not_answer(
    kgate: Callable[..., Result], node: DbNode, proxy: str
) -> None:
    proxy = node.admin if proxy == "admin" else proxy  # HTTP, but no adapter
    Path("gateway.yaml").write_text(Path("gateway.yaml").read_text().replace(node.proxy, proxy))
    result = kgate("failover", "order", "--to", "spare", "--write", "dns")
    assert result.exit_code == exit_codes.FAILED
    assert f"NOT {proxy}: adapter: does not answer" in result.stderr
    assert result.stderr.count("NOT ") == 1
    assert not Path("dns").exists()


def test_a_standby_whose_targets_are_unhealthy(kgate: Callable[..., Result], node: DbNode) -> None:
    checks = "healthchecks: {passive: {unhealthy: {http_failures: 1}}}"
    text = Path("gateway.yaml").read_text().replace("slots: 100", f"slots: 100, {checks}")
    Path("gateway.yaml").write_text(text)
    load(kgate, node)
    target = "/upstreams/v2/targets/10.0.0.9:80"
    assert ask(node, "PUT", f"{target}/unhealthy") == 204
    result = kgate("failover", "order", "--to", "spare", "--write", "dns")
    assert result.exit_code == exit_codes.FAILED
    assert f"NOT {node.admin}: upstream v2: 0 of 1 targets get requests" in result.stderr
    assert not Path("dns").exists()
    assert ask(node, "PUT", f"{target}/healthy") == 204
    assert kgate("failover", "order", "--to", "spare").exit_code == 0


def test_a_standby_whose_targets_have_no_weight(kgate: Callable[..., Result], node: DbNode) -> None:
    """Kong calls them healthy and sends them nothing."""
    text = Path("gateway.yaml").read_text().replace("weight: 10", "weight: 0")
    Path("gateway.yaml").write_text(text)
    load(kgate, node)
    result = kgate("failover", "order", "--to", "spare")
    assert result.exit_code == exit_codes.FAILED
    assert f"NOT {node.admin}: upstream v2: 0 of 1 targets get requests" in result.stderr


def test_failover_keeps_what_else_is_in_the_zone(kgate: Callable[..., Result]) -> None:
    Path("dns").mkdir()
    Path("dns/example.com.yaml").write_text(
        "---\n'':\n- {type: A, value: 192.0.2.1}\n- {type: MX, values: [{exchange: mx., preference: 1}]}\n"
        "www: {type: A, value: 192.0.2.2}\n"
    )
    result = kgate("failover", "order", "--back", "--write", "dns")
    assert result.exit_code == 0, result.stderr
    zone = yaml.safe_load(Path("dns/example.com.yaml").read_text())
    assert list(zone) == ["", "order", "www"]
    assert [entry["type"] for entry in zone[""]] == ["MX", "ALIAS"]


def test_a_standby_that_is_not_ready(kgate: Callable[..., Result], node: DbNode) -> None:
    result = kgate("failover", "other", "--to", "away", "--write", "dns")
    assert result.exit_code == exit_codes.FAILED
    assert "is not ready for tenant 'other'" in result.stderr
    assert not Path("dns").exists()
    Path("gateway.yaml").write_text(Path("gateway.yaml").read_text().replace("percent: 5", "percent: 6"))
    result = kgate("failover", "order", "--back")
    assert result.exit_code == exit_codes.FAILED
    assert "lacks or differs in plugin canary-router" in result.stderr


@pytest.mark.parametrize(
    "args", [["nobody", "--back"], ["order"], ["order", "--to", "away"], ["order", "--to", "main", "--back"]]
)
def test_failover_used_wrongly(kgate: Callable[..., Result], args: list[str]) -> None:
    assert kgate("failover", *args).exit_code == exit_codes.USAGE
