"""The examples of docs/ci.md are YAML, and each kgate command line in them is one that kgate understands.

The commands that need no node are run; of the others the options are parsed.
"""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import cli.main
from cli.main import COMMANDS, main

ROOT = Path(cli.main.__file__).parents[1]
PAGE = (ROOT / "docs" / "ci.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())


def scripts() -> list[str]:
    """Every shell line of the workflows."""
    found: list[str] = []

    def walk(value: object, key: str = "") -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                walk(item, str(name))
        elif isinstance(value, list):
            for item in value:
                walk(item, key)
        elif key in ("run", "script", "entry") and isinstance(value, str):
            found.extend(value.splitlines())

    for block in BLOCKS:
        walk(yaml.safe_load(block))
    inline = re.findall(r"`(kgate [^`]+)`", PAGE)
    return [line for line in (*found, *inline) if "kgate " in line]


LINES = sorted({line.strip() for line in scripts()})


def arguments(line: str) -> list[str]:
    words = shlex.split(line[line.index("kgate ") + 6 :], comments=True)
    ends = [index for index, word in enumerate(words) if word in (">", "||", ";", "|", "&&")]
    return words[: ends[0]] if ends else words


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 4
    assert len(LINES) >= 8


@pytest.mark.parametrize("line", LINES)
def test_kgate_understands_it(line: str) -> None:
    args = [word for word in arguments(line) if word not in ("lint,",)]
    command: click.Command | None = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        assert args, line
        name = args.pop(0)
        if command is main and name not in COMMANDS:
            pytest.fail(f"no command {name}")
        command = command.get_command(context, name)
    assert command is not None
    command.make_parser(context).parse_args(args)


@pytest.mark.parametrize("line", [line for line in LINES if arguments(line)[0] == "lint"])
def test_lint_runs_as_written(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway" / "envs" / "prod").mkdir(parents=True)
    (tmp_path / "gateway" / "a.yaml").write_text('_format_version: "3.0"\n')
    (tmp_path / "gateway.yaml").write_text('_format_version: "3.0"\n')
    (tmp_path / "gateway" / "envs" / "prod" / "p.yaml").write_text("services: []\n")
    args = ["unnamed-route" if word == "RULE" else word for word in arguments(line)]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [word.replace("$env", "prod") for word in args])
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_hooks(hook: dict[str, object]) -> None:
    assert set(hook) >= {"id", "name", "entry", "language"}
    assert str(hook["entry"]).split()[1] in COMMANDS
