"""pre-commit itself runs the hooks of docs/ci.md on a repository, without a network.

The hooks' own language, python, has pre-commit install kgate from an index. `language: system`, which a config may
say, takes the kgate that is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_ci_examples import HOOKS, ROOT, SHIMS, block

GOOD = """_format_version: "3.0"
services:
- {name: a, url: "http://a", routes: [{name: a, paths: [/a], tags: [public]}]}
"""
BAD = GOOD.replace("name: a, url", "name: a, nope: 1, url")
FOUND = "gateway/gateway.yaml:3:13: error[unknown-field]: unknown field 'nope'"
MANIFEST = ".pre-commit-hooks.yaml"


class Checkout:
    """A repository with a folder of gateway files, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self._base, self.folder = folder, folder / "shop"
        bin_ = folder / "bin"
        bin_.mkdir()
        (bin_ / "kgate").write_text(f"#!/bin/bash\n{SHIMS['kgate']}\n")
        (bin_ / "kgate").chmod(0o755)
        (self.folder / "gateway").mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def run(self, *command: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        who = {
            f"GIT_{role}_{what}": "kim@example.com"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        env = {
            **who,
            "PATH": f"{self._base / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self._base),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PRE_COMMIT_HOME": str(self._base / "pre-commit"),
            "PIP_NO_INDEX": "1",
            "https_proxy": "http://127.0.0.1:9",
        }
        return subprocess.run(
            command, cwd=at or self.folder, env=env, capture_output=True, text=True, timeout=50, check=False
        )

    def git(self, *arguments: str, at: Path | None = None) -> str:
        done = self.run("git", *arguments, at=at)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def pre_commit(self, *arguments: str) -> tuple[int, str]:
        done = self.run(sys.executable, "-m", "pre_commit", *arguments)
        return done.returncode, done.stdout + done.stderr

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        self.git("add", name)

    def config(self, config: Any) -> None:
        self.write(".pre-commit-config.yaml", yaml.safe_dump(config))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def of_the_page(checkout: Checkout, tmp_path: Path) -> dict[str, Any]:
    """The config of the page that names a repository, which is here one with the manifest alone."""
    hooks = tmp_path / "kgate"
    hooks.mkdir()
    (hooks / MANIFEST).write_text((ROOT / MANIFEST).read_text())
    for command in (["init", "-q"], ["add", MANIFEST], ["commit", "-q", "-m", "hooks"]):
        checkout.git(*command, at=hooks)
    config: dict[str, Any] = yaml.safe_load(block("pre-commit"))
    (repo,) = config["repos"]
    repo.update(repo=str(hooks), rev=checkout.git("rev-parse", "HEAD", at=hooks))
    repo["hooks"].append({"id": "kgate-validate", "args": ["-f", "gateway/"]})
    for hook in repo["hooks"]:
        hook["language"] = "system"
    return config


def test_the_manifest_is_one(checkout: Checkout) -> None:
    assert checkout.pre_commit("validate-manifest", str(ROOT / MANIFEST)) == (0, "")
    assert {hook["id"] for hook in HOOKS} == {"kgate-lint", "kgate-validate"}


def test_the_hooks_run(checkout: Checkout, tmp_path: Path) -> None:
    checkout.config(of_the_page(checkout, tmp_path))
    checkout.write("gateway/gateway.yaml", GOOD)
    code, said = checkout.pre_commit("run", "--all-files")
    assert (code, said.count("Passed")) == (0, 2), said
    # another file of the folder is the one that changed: the whole of it is looked at
    checkout.write("gateway/gateway.yaml", BAD)
    checkout.git("commit", "-q", "-m", "bad")
    checkout.write("gateway/other.yaml", '_format_version: "3.0"\n')
    code, said = checkout.pre_commit("run")
    assert (code, said.count("Failed"), said.count(FOUND)) == (1, 2, 2), said
    assert said.count("- exit code: 4") == 2


def test_a_commit_is_stopped_by_the_local_hook(checkout: Checkout) -> None:
    checkout.config(yaml.safe_load(block("pre-commit", 1)))
    checkout.write("gateway/gateway.yaml", GOOD)
    assert checkout.pre_commit("install")[0] == 0
    checkout.git("commit", "-q", "-m", "good")
    checkout.write("gateway/gateway.yaml", BAD)
    done = checkout.run("git", "commit", "-q", "-m", "bad")
    assert done.returncode == 1
    assert FOUND in done.stdout + done.stderr
    assert checkout.git("log", "--format=%s") == "good"


def test_files_of_others_are_none_of_its(checkout: Checkout, tmp_path: Path) -> None:
    checkout.config(of_the_page(checkout, tmp_path))
    checkout.write("gateway/gateway.yaml", GOOD)
    checkout.git("commit", "-q", "-m", "config")
    checkout.write("README.md", "# shop\n")
    code, said = checkout.pre_commit("run")
    assert (code, said.count("(no files to check)Skipped")) == (0, 2), said
