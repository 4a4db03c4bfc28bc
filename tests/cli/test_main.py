"""The command group: what every command shares."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import exit_codes
from cli.main import COMMANDS, SUMMARIES, main

RUN = CliRunner()


def test_help_names_every_command_without_importing_them() -> None:
    code = "import sys; from cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in sys.modules if m.startswith(('cli.commands.', 'kong_plugins', 'decl.'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


def test_every_command_has_a_summary() -> None:
    assert list(SUMMARIES) == list(COMMANDS)


@pytest.mark.parametrize("name", ["lint", "render", "sync"])
def test_help_has_examples(name: str) -> None:
    result = RUN.invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Examples:\n    kgate" in result.stdout
    assert "--output" in result.stdout


def test_version() -> None:
    assert RUN.invoke(main, ["--version"]).stdout.startswith("kgate, version ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["bogus"], "kgate: No such command 'bogus'. (see kgate --help)\n"),
        (["lint", "--bogus"], "kgate: No such option"),
        (["lint", "--output", "xml"], "kgate: Invalid value for '--output': "),
    ],
)
def test_wrong_usage_is_one_line(args: list[str], message: str) -> None:
    result = RUN.invoke(main, args, prog_name="kgate")
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_without_a_command_the_help_is_shown() -> None:
    result = RUN.invoke(main, [], prog_name="kgate")
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr.startswith("Usage: kgate [OPTIONS] COMMAND")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ZeroDivisionError("a\nb"), 1, "kgate: internal error: ZeroDivisionError: a; run again with"),
        (click.Abort(), 1, "kgate: stopped\n"),
        (KeyboardInterrupt(), 1, "kgate: stopped\n"),
        (click.ClickException("two\nlines"), 1, "kgate: two lines\n"),
    ],
)
def test_errors_never_show_a_traceback(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.delenv("KGATE_DEBUG", raising=False)
    monkeypatch.setattr("cli.commands.lint.read_project", fail)
    result = RUN.invoke(main, ["lint"])
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.main"]
    done = subprocess.run([*command, "lint"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == exit_codes.USAGE
    assert done.stderr == "kgate: gateway.yaml: No such file or directory; name the file with -f\n"
    (tmp_path / "gateway.yaml").write_text('_format_version: "3.0"\nservices: [{name: a, url: "http://a"}]\n')
    pipe = subprocess.run(
        f"{sys.executable} -m cli.main render | true",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert pipe.stderr == ""
