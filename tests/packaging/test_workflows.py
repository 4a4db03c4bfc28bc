"""The project's own CI runs what the Makefile has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def test_the_workflow_is_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_make_target_of_it_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    steps = [
        step["run"]
        for job in yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    assert steps
    for step in steps:
        target = re.fullmatch(r"make ([a-z-]+)", step)
        assert target is not None, step
        assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE), step


def test_ci_runs_the_commands_of_the_readme() -> None:
    (block,) = re.findall(r"## Try it.*?```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    ran = [line for line in (ROOT / ".ci" / "run").read_text("utf-8").splitlines() if line.startswith("make")]
    assert block.splitlines() == ran
