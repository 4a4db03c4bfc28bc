"""A folder with a gateway.yaml, and an operator's shell on a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from kong_plugins.state.redis import RedisStore
from tests.decl.db_node import DbNode, Store, db_node
from tests.redis_server import RedisServer


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Admin APIs of these tests have no workers to wait for."""
    monkeypatch.setattr("decl.guard_first.SETTLE_SECONDS", 0.0)


GOOD = """_format_version: "3.0"
clusters:
  one: {nodes: ["http://127.0.0.1:9"], trusted_ips: []}
issuers:
- {name: main, iss: "https://a", jwks_url: "http://a/jwks", audiences: [shop]}
tenants:
- {name: shop, owner: team-shop, hosts: [shop.example], plugins: [{name: passport, config: {issuers: [main]}}]}
services:
- name: cart
  tenant: shop
  url: http://cart
  routes: [{name: cart, paths: [/cart]}]
- name: other
  url: http://other
"""

SHOP = """_format_version: "3.0"
clusters:
  one: {nodes: ["http://127.0.0.1:9"], trusted_ips: []}
issuers:
- {name: main, iss: "https://auth.example.com", jwks_url: "http://127.0.0.1:9/jwks", audiences: [shop]}
tenants:
- name: shop
  hosts: [shop.example.com]
  plugins:
  - {name: abuse-guard}
  - {name: passport, config: {issuers: [main], mode: optional}}
services:
- name: cart
  tenant: shop
  url: http://cart
  routes: [{name: cart, paths: [/cart]}]
  plugins:
  - name: canary-router
    config: # the plan
      name: checkout-v2
      percent: 5 # a twentieth
      upstream: cart-v2
      cidrs: [198.51.100.0/24]
      users:
      # the team
      - kim # since May
      - lee # new

  - name: static-fallback # at the end
    config: {responses: [{name: empty-menu, on: [502], status: 200, json: {}}]}
upstreams:
- {name: cart-v2, targets: [{target: "127.0.0.1:10"}]}
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a history of its own and without Redis."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGATE_HISTORY", str(tmp_path / "history"))
    monkeypatch.delenv("REDIS_URL", raising=False)
    return tmp_path


@pytest.fixture
def project_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own working directory with a good gateway.yaml."""
    (tmp_path / "gateway.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Operator:
    """Runs kgate as an operator does, in this process, in a namespace of its own."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url, self.namespace = url, namespace
        self.store = RedisStore(url, namespace)

    def __call__(self, *arguments: str, user: str = "kim", stdin: str | bytes | None = None) -> Result:
        env = {"USER": user, "REDIS_URL": self.url, "KGATE_NAMESPACE": self.namespace, "KGATE_DEBUG": "1"}
        return CliRunner().invoke(main, arguments, input=stdin, env=env, prog_name="kgate")

    def json(self, *arguments: str, code: int = 0, **options: Any) -> Any:
        """The JSON that a command prints with --output json."""
        result = self(*arguments, "--output", "json", **options)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def ok(self, *arguments: str, **options: Any) -> str:
        """What a command prints that must succeed."""
        result = self(*arguments, **options)
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(self, code: int, *arguments: str, **options: Any) -> str:
        """The one line of a command that must fail and must write nothing."""
        before = self.store.version(), self.store.events(1000)
        result = self(*arguments, **options)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert result.stderr.startswith("kgate: ")
        assert result.stderr.count("\n") == 1
        assert (self.store.version(), self.store.events(1000)) == before
        return result.stderr.removeprefix("kgate: ").rstrip("\n")

    def kinds(self) -> list[str]:
        """The kinds of the audit log, the oldest first."""
        return [event.kind for event in self.store.events(1000)]


@pytest.fixture
def kgate(redis_server: RedisServer, namespace: str) -> Iterator[Operator]:
    """An operator's shell."""
    made = Operator(redis_server.url, namespace)
    yield made
    made.store.close()


@pytest.fixture
def shop_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own working directory with a gateway.yaml that plans a canary, and the keys of its issuer."""
    (tmp_path / "gateway.yaml").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def shared() -> Iterator[DbNode]:
    """A stand-in of a node with a database; tests take `node`."""
    with db_node() as node:
        yield node


@pytest.fixture
def node(shared: DbNode) -> DbNode:
    """It, and nothing in it."""
    shared.store = Store()
    return shared
