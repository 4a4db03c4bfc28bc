"""examples/bench renders: the four routes with the plugins that the bench compares."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main

SOURCE = Path(__file__).parents[2] / "examples" / "bench" / "gateway.yaml"


def test_it_renders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "BENCH_ADMIN": "http://127.0.0.1:8001",
        "BENCH_RUN_DIR": "/run/kgate",
        "BENCH_UPSTREAM": "http://127.0.0.1:9500",
        "BENCH_UPSTREAM_TARGET": "127.0.0.1:9500",
        "BENCH_SECRET": "0123456789abcdef0123456789abcdef",
    }.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "bench.json"
    done = CliRunner().invoke(main, ["-f", str(SOURCE), "render", "-o", str(out)])
    assert done.exit_code == 0, done.output
    config = json.loads(out.read_text())
    routes = {
        route["name"]: [plugin["name"] for plugin in route.get("plugins", [])]
        for service in config["services"]
        for route in service["routes"]
    }
    assert routes == {
        "base": [],
        "lua": ["jwt", "ip-restriction", "rate-limiting"],
        "passport": ["passport"],
        "all": ["abuse-guard", "passport", "canary-router", "static-fallback"],
        "limited": ["abuse-guard", "passport", "canary-router", "static-fallback"],
    }
