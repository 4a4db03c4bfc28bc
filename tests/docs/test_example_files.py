"""Every example's files are without errors, and without warnings but those that it is about."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "examples").glob("*/gateway.yaml"), ROOT / "deploy" / "compose" / "gateway.yaml"])


def test_there_are_some() -> None:
    assert len(FILES) >= 6


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_has_no_errors(path: Path) -> None:
    names = set(re.findall(r"env \"([A-Z_0-9]+)\"", path.read_text("utf-8")))
    environ = {
        name: "127.0.0.1:1"
        if name.endswith(("_TARGET", "_V2", "_TEST"))
        else "/tmp/kgate"
        if name.endswith("RUN_DIR")
        else "http://127.0.0.1:2"
        if name.endswith("_ADMIN")
        else "http://127.0.0.1:1"
        for name in names
    }
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "lint", "-f", str(path)],
        env={**os.environ, **environ}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in done.stdout.replace("0 errors", "")
