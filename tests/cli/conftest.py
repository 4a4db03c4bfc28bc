"""A folder with a gateway.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

GOOD = """_format_version: "3.0"
clusters:
  one: {nodes: ["http://127.0.0.1:9"]}
issuers:
- {name: main, iss: "https://a", jwks_url: "http://a/jwks", audiences: [shop]}
tenants:
- {name: shop, hosts: [shop.example], plugins: [{name: passport, config: {issuers: [main]}}]}
services:
- name: cart
  tenant: shop
  url: http://cart
  routes: [{name: cart, paths: [/cart]}]
- name: other
  url: http://other
"""


@pytest.fixture
def project_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own working directory with a good gateway.yaml."""
    (tmp_path / "gateway.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path
