"""The workflows of docs/ci.md are valid, and every shell line of them is run, as the CI would, against a node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from cli import exit_codes
from tests.decl.db_node import DbNode, db_node

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text("utf-8")
TOKEN = "the-admins-t0ken"
GATEWAY = """_format_version: "3.0"
clusters:
  main: {{nodes: ["{admin}"], proxy: ["{proxy}"], admin: {{headers: {{Kong-Admin-Token: !env ADMIN_TOKEN}}}}}}
tenants: [{{name: shop, owner: team-shop}}]
services:
- {{name: cart, tenant: shop, url: "http://cart", routes: [{{name: cart, paths: [/cart]}}]}}
"""


def block(heading: str, number: int = 0) -> str:
    """The YAML under a heading of the page."""
    _, _, rest = PAGE.partition(f"\n## {heading}\n")
    found: list[str] = re.findall(r"^```yaml\n(.*?)^```", rest.partition("\n## ")[0], re.M | re.S)
    return found[number]


GITHUB: dict[str, Any] = yaml.safe_load(block("GitHub Actions"))
GITLAB: dict[str, Any] = yaml.safe_load(block("GitLab"))
HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
VALUES = {"secrets.ADMIN_TOKEN": TOKEN, "github.token": "gh-token", "github.event.number": "17"}

SHIMS = {
    "kgate": f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m cli.main "$@"',
    "pip": '[ "$1" = install ] && [ "${@: -1}" = kgate ]',
    # as gh does: --edit-last fails where there is no comment yet
    "gh": """
        [ "$1 $2 $3" = "pr comment 17" ] && [ "$GH_TOKEN" = gh-token ] || exit 2
        [ "$6" != --edit-last ] || [ -e "$HOME/comment" ] || exit 1
        cp "$5" "$HOME/comment"; echo "$6" >> "$HOME/comments"
    """,
}


class Runner:
    """Runs scripts in a checkout, with nothing of this process's environment but PATH."""

    def __init__(self, folder: Path) -> None:
        self.home, self.folder = folder, folder / "checkout"
        (self.folder / "gateway").mkdir(parents=True)
        bin_ = folder / "bin"
        bin_.mkdir()
        for name, text in SHIMS.items():
            (bin_ / name).write_text(f"#!/bin/bash\n{text}\n")
            (bin_ / name).chmod(0o755)
        self._path = f"{bin_}:{os.environ['PATH']}"

    def __call__(self, script: str, shell: str = "bash -e", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*shell.split(), "-c", script],
            cwd=self.folder,
            env={"PATH": self._path, "HOME": str(self.home), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    def github(self, job: str) -> list[tuple[str, int]]:
        """Run a job's steps up to the first that fails: their names and exit codes."""
        found = []
        settings = GITHUB["jobs"][job]
        env = {name: expanded(value) for name, value in settings["env"].items()}
        for step in settings["steps"]:
            if "run" not in step:
                continue
            done = self(expanded(step["run"]), **env)
            assert TOKEN not in done.stdout + done.stderr
            found.append((step.get("name", "install"), done.returncode))
            if done.returncode:
                break
        return found

    def gitlab(self, job: str) -> int:
        """Run a job; the exit code that GitLab makes of it."""
        script = "\n".join([*GITLAB["default"]["before_script"], *GITLAB[job]["script"]])
        done = self(script, "bash -eo pipefail", ADMIN_TOKEN=TOKEN)
        assert TOKEN not in done.stdout + done.stderr
        artifacts = GITLAB[job].get("artifacts", {})
        for name in [*artifacts.get("paths", ()), *artifacts.get("reports", {}).values()]:
            assert (self.folder / name).stat().st_size
        allowed = GITLAB[job].get("allow_failure", {}).get("exit_codes", [])
        return 0 if done.returncode in allowed else done.returncode

    def write(self, node: DbNode, extra: str = "") -> None:
        text = GATEWAY.format(admin=node.admin, proxy=node.proxy) + extra
        (self.folder / "gateway" / "gateway.yaml").write_text(text)

    def overlay(self, name: str, text: str) -> Path:
        folder = self.folder / "gateway" / "envs" / name
        folder.mkdir(parents=True)
        (folder / "over.yaml").write_text(text)
        return folder / "over.yaml"


def expanded(text: str) -> str:
    """GitHub's `${{ }}` expressions; one that the test has no value for is an error."""
    return re.sub(r"\$\{\{ *(\S+?) *\}\}", lambda match: VALUES[match[1]], text)


@pytest.fixture
def node() -> Iterator[DbNode]:
    with db_node(KONG_DATABASE="off") as running:
        yield running


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.mark.parametrize(
    ("heading", "schema"),
    [("GitHub Actions", "vendor.github-workflows"), ("GitLab", "vendor.gitlab-ci")],
)
def test_the_workflow_is_valid(heading: str, schema: str, tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="the schemas come with the dev extra")
    file = tmp_path / "workflow.yml"

    def check() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    file.write_text(block(heading))
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
    file.write_text(block(heading).replace("artifacts:", "artefacts:").replace("runs-on:", "run-on:"))
    assert check().returncode != 0


@pytest.mark.timeout(120)
def test_github(runner: Runner, node: DbNode) -> None:
    runner.write(node)
    for comments in ("--edit-last", "--edit-last\n--edit-last"):
        assert runner.github("check") == [("install", 0), ("lint", 0), ("diff", 0)]
        comment = (runner.home / "comment").read_text()
        assert comment.startswith("### kgate diff: cluster `main`\n")
        assert "| create | route `cart` |" in comment
        # the first time there is nothing to edit, and a comment is made
        expected = comments.replace("--edit-last", "", 1).strip()
        assert (runner.home / "comments").read_text().strip() == expected
    assert json.loads((runner.folder / "lint.sarif").read_text())["version"] == "2.1.0"
    assert runner.github("apply") == [("install", 0), ("sync", 0)]
    assert runner.github("check")[-1] == ("diff", 0)
    assert "No changes" in (runner.home / "comment").read_text()


def test_github_stops_at_findings(runner: Runner, node: DbNode) -> None:
    runner.write(node, "- {name: b, url: 'http://b', nope: 1}\n")
    assert runner.github("check") == [("install", 0), ("lint", exit_codes.FINDINGS)]
    upload = next(step for step in GITHUB["jobs"]["check"]["steps"] if step.get("name") == "upload findings")
    assert upload["if"] == "always()"
    assert "nope" in (runner.folder / upload["with"]["sarif_file"]).read_text()


def test_github_stops_when_the_node_is_away(runner: Runner, node: DbNode) -> None:
    runner.write(node)
    file = runner.folder / "gateway" / "gateway.yaml"
    file.write_text(file.read_text().replace(node.admin, "http://127.0.0.1:9"))
    assert runner.github("check")[-1] == ("diff", 1)
    assert not (runner.home / "comment").exists()


@pytest.mark.timeout(120)
def test_gitlab(runner: Runner, node: DbNode) -> None:
    runner.write(node)
    assert set(GITLAB) == {"stages", "default", "lint", "diff", "sync"}
    assert [runner.gitlab(job) for job in ("lint", "diff", "sync", "diff")] == [0, 0, 0, 0]
    assert ElementTree.parse(runner.folder / "lint.xml").getroot().get("failures") == "0"
    assert "No changes" in (runner.folder / "diff.md").read_text()
    runner.write(node, "- {name: b, url: 'http://b', nope: 1}\n")
    assert runner.gitlab("lint") == exit_codes.FINDINGS
    assert ElementTree.parse(runner.folder / "lint.xml").getroot().get("failures") == "1"


@pytest.mark.timeout(120)
def test_the_commands_of_the_text(runner: Runner, node: DbNode) -> None:
    """Those of the table and the paragraphs, in the page's order; the table has them without -f."""
    runner.write(node)
    (runner.folder / "gateway.yaml").write_text((runner.folder / "gateway" / "gateway.yaml").read_text())
    runner.overlay("prod", "services: []\n")
    ends = {"diff": exit_codes.CHANGES_PENDING}
    ran = []
    for line in re.findall(r"`(kgate [a-z]+ [^`]*-[^`]+)`", PAGE):
        done = runner(line.replace("RULE", "unnamed-route"), ADMIN_TOKEN=TOKEN)
        command = line.split()[1]
        assert done.returncode == ends.get(command, 0), (line, done.stdout, done.stderr)
        ran.append(command)
    assert ran == ["lint", "validate", "diff", "sync", "drift", "schema", "drift", "lint"]


def test_each_environment_is_checked(runner: Runner, node: DbNode) -> None:
    runner.write(node)
    over = [runner.overlay(name, "services: [{name: cart, retries: 1}]\n") for name in ("test", "prod")]
    (script,) = re.findall(r"^```sh\n(.*?)^```", PAGE.partition("\n## Environments\n")[2], re.M | re.S)
    assert runner(script).returncode == 0
    over[1].write_text("services: [{name: cart, retries: many}]\n")
    done = runner(script)
    assert done.returncode == exit_codes.FINDINGS
    assert "envs/prod/over.yaml:1:34" in done.stdout


# -- pre-commit ----------------------------------------------------------------------------------------------

KEYS = {
    # pre-commit.com, "Creating new hooks": what a manifest's hook must and may have
    *("id", "name", "entry", "language", "files", "exclude", "types", "types_or", "exclude_types"),
    *("always_run", "fail_fast", "verbose", "pass_filenames", "require_serial", "description"),
    *("language_version", "minimum_pre_commit_version", "args", "stages", "additional_dependencies"),
}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: str(hook["id"]))
def test_the_manifest_is_valid(hook: dict[str, Any]) -> None:
    assert {"id", "name", "entry", "language"} <= set(hook) <= KEYS
    assert isinstance(hook["pass_filenames"], bool)
    assert hook["language"] == "python"
    re.compile(hook["files"])


def committed(runner: Runner, hook: dict[str, Any], *files: str) -> int | None:
    """What pre-commit does with changed files: None when none of them is the hook's."""
    wanted = [name for name in files if re.search(hook["files"], name)]
    if not wanted:
        return None
    line = [*hook["entry"].split(), *hook.get("args", ()), *(wanted if hook["pass_filenames"] else ())]
    return runner(" ".join(line)).returncode


def hooks_of_the_page() -> list[dict[str, Any]]:
    by_id = {hook["id"]: hook for hook in HOOKS}
    found = []
    for number in (0, 1):
        for repo in yaml.safe_load(block("pre-commit", number))["repos"]:
            for hook in repo["hooks"]:
                found.append(hook if repo["repo"] == "local" else {**by_id[hook["id"]], **hook})
    return found


@pytest.mark.parametrize("hook", [*hooks_of_the_page(), {**HOOKS[1], "args": ["-f", "gateway/"]}])
def test_the_hook_runs(hook: dict[str, Any], runner: Runner, node: DbNode) -> None:
    runner.write(node)
    assert committed(runner, hook, "README.md", "src/x.py") is None
    assert committed(runner, hook, "README.md", "gateway/gateway.yaml") == 0
    runner.write(node, "- {name: b, url: 'http://b', nope: 1}\n")
    assert committed(runner, hook, "gateway/gateway.yaml") == exit_codes.FINDINGS
