"""Whole outputs of diff and sync, against the files of golden/. KGATE_GOLDEN=write writes them anew: read the diff.

Addresses, digests and fences are replaced; ids are kept, for they are made of names. JSON is one line, and stands
in several here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import exit_codes
from cli.main import main
from decl import probe
from tests.decl.db_node import DbNode, FaultProxy, db_node, fault_proxy

GOLDEN = Path(__file__).parent / "golden"

SOURCE = """_format_version: "3.0"
clusters:
  one: {{mode: {mode}, nodes: [{nodes}]}}
services:
- name: cart
  url: http://cart
  routes: [{{name: cart, paths: [/cart]}}]
  plugins: [{{name: key-auth, config: {{key_names: [b, a]}}}}]
- {{name: old, url: "http://old"}}
consumers:
- {{username: kim, keyauth_credentials: [{{name: k, key: !env THE_KEY}}]}}
upstreams:
- {{name: cart-v2, targets: [{{target: "10.0.0.1:80"}}], healthchecks: {{active: {{healthy: {{interval: 5}}}}}}}}
"""
EDITS = [
    ("http://cart", "https://basket"),
    ("key_names: [b, a]", "key_names: [a], hide_credentials: true"),
    ('- {name: old, url: "http://old"}', '- {name: new, url: "http://new", tags: [x]}'),
    ("interval: 5", "interval: 7"),
    ("10.0.0.1:80", "10.0.0.2:80"),
]


@pytest.fixture(autouse=True)
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "very-secret")
    monkeypatch.setattr(probe, "propagation_time", lambda node: 0.0)


@pytest.fixture(scope="module")
def dbless() -> Iterator[list[DbNode]]:
    with db_node(KONG_DATABASE="off") as first, db_node(KONG_DATABASE="off") as second:
        yield [first, second]


@pytest.fixture
def proxy(node: DbNode) -> Iterator[FaultProxy]:
    with fault_proxy(node.admin) as made:
        yield made


class Shop:
    """The files, and runs whose whole output is held against a golden file."""

    def __init__(self, mode: str, urls: list[str]) -> None:
        self.urls = urls
        nodes = ", ".join(f'"{url}"' for url in urls)
        Path("gateway.yaml").write_text(SOURCE.format(mode=mode, nodes=nodes))

    def edit(self, *edits: tuple[str, str]) -> None:
        text = Path("gateway.yaml").read_text()
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        Path("gateway.yaml").write_text(text)

    def run(self, *command: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, command, prog_name="kgate")
        assert result.exit_code == code, result.output
        assert "very-secret" not in result.output
        return self._normal(result.stdout)

    def _normal(self, text: str) -> str:
        for number, url in enumerate(self.urls, 1):
            text = text.replace(url, f"http://node-{number}:8001")
        text = re.sub(r"\b(?:[0-9a-f]{32}|[0-9a-f]{64})\b", "DIGEST", text)
        text = re.sub(r'"fence": \d+', '"fence": "FENCE"', text)
        if text.startswith("{"):
            assert text.count("\n") == 1
            text = json.dumps(json.loads(text), indent=1) + "\n"
        return text

    def golden(self, name: str, *command: str, code: int = 0) -> None:
        """The output is the file's."""
        found = self.run(*command, code=code)
        path = GOLDEN / name
        if os.environ.get("KGATE_GOLDEN") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(found)
        assert found == path.read_text()


def test_with_a_database(proxy: FaultProxy, node: DbNode, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop("db", [proxy.url])
    pending = exit_codes.CHANGES_PENDING
    shop.golden("db-first-diff.txt", "diff", code=pending)
    shop.golden("db-first-diff.json", "diff", "--output", "json", code=pending)
    shop.golden("db-sync.json", "sync", "--yes", "--output", "json")
    shop.golden("db-sync-again.json", "sync", "--yes", "--output", "json")
    shop.golden("db-sync-again.txt", "sync", "--yes")
    shop.golden("db-no-diff.json", "diff", "--output", "json")
    shop.edit(*EDITS)
    monkeypatch.setenv("THE_KEY", "another-very-secret")
    route = next(iter(node.store.entities["routes"].values()))
    node.store = node.store.having("routes", {**route, "strip_path": False})  # somebody else
    shop.golden("db-diff.txt", "diff", code=pending)
    shop.golden("db-diff.json", "diff", "--output", "json", code=pending)
    shop.golden("db-diff.md", "diff", "--output", "markdown", code=pending)
    proxy.begin(lambda _, method, path: "refuse" if path.startswith("/plugins") else None)
    # with one connection, so that it is known how far it came
    shop.golden("db-sync-rolled-back.json", "sync", "--yes", "--output", "json", "--workers", "1", code=6)


def test_without_a_database(dbless: list[DbNode]) -> None:
    shop = Shop("dbless", [node.admin for node in dbless])
    pending = exit_codes.CHANGES_PENDING
    shop.golden("dbless-first-diff.txt", "diff", code=pending)
    shop.golden("dbless-sync.json", "sync", "--yes", "--output", "json")
    shop.golden("dbless-sync-again.json", "sync", "--yes", "--output", "json")
    shop.golden("dbless-sync-again.txt", "sync", "--yes")
    shop.edit(*EDITS)
    shop.golden("dbless-diff.txt", "diff", code=pending)
    shop.golden("dbless-diff.json", "diff", "--output", "json", code=pending)
    shop.edit(("nodes: [", 'nodes: ["http://127.0.0.1:9", '))
    shop.golden("dbless-away-diff.txt", "diff", code=exit_codes.FAILED)
    shop.golden("dbless-away-sync.txt", "sync", "--yes", code=exit_codes.FAILED)
    shop.golden("dbless-away-sync.json", "sync", "--yes", "--output", "json", code=exit_codes.FAILED)
    shop.edit((", ".join(f'"{node.admin}"' for node in dbless), ""))
    shop.golden("dbless-all-away-diff.txt", "diff", code=exit_codes.FAILED)
