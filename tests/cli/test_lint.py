import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import exit_codes
from cli.main import main

RUN = CliRunner()
WARNS = '_format_version: "3.0"\nupstreams: [{name: u}]\n'
BAD = '_format_version: "3.0"\nservices:\n- {name: a, url: "http://a", nope: 1}\n'


def test_good(project_dir: Path) -> None:
    result = RUN.invoke(main, ["lint"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "no findings\n", "")


def test_bad(project_dir: Path) -> None:
    Path("bad.yaml").write_text(BAD)
    result = RUN.invoke(main, ["lint", "-f", "bad.yaml"])
    assert result.exit_code == exit_codes.FINDINGS
    assert result.stdout.splitlines() == [
        "bad.yaml:3:30: error[unknown-field]: unknown field 'nope'",
        '    3 | - {name: a, url: "http://a", nope: 1}',
        "      |                              ^^^^",
        "1 error, 0 warnings",
    ]


def test_warnings_alone_are_no_failure(project_dir: Path) -> None:
    Path("gateway.yaml").write_text(WARNS)
    result = RUN.invoke(main, ["lint"])
    assert result.exit_code == 0
    assert "gateway.yaml:2:13: warning[unused-upstream]" in result.stdout
    assert "0 errors, 2 warnings" in result.stdout


def test_json(project_dir: Path) -> None:
    Path("bad.yaml").write_text(BAD)
    result = RUN.invoke(main, ["lint", "-f", "bad.yaml", "--output", "json"])
    assert result.exit_code == exit_codes.FINDINGS
    assert json.loads(result.stdout) == {
        "version": 1,
        "errors": 1,
        "warnings": 0,
        "findings": [
            {
                "file": "bad.yaml",
                "line": 3,
                "col": 30,
                "level": "error",
                "rule": "unknown-field",
                "message": "unknown field 'nope'",
            }
        ],
    }


@pytest.mark.parametrize(
    "args",
    [
        ["-f", "parts", "lint"],
        ["lint", "-f", "parts"],
        ["lint", "-f", "parts/*.yaml", "-f", "parts/sub/b.yml"],
        ["-f", "parts/a.yaml", "lint", "-f", "parts/sub/b.yml"],
        ["lint", "-f", "parts/**/*.y*ml", "-f", "parts/a.yaml"],
    ],
)
def test_files_folders_and_globs(project_dir: Path, args: list[str]) -> None:
    Path("parts/sub").mkdir(parents=True)
    Path("parts/a.yaml").write_text('_format_version: "3.0"\nroutes: [{name: r, paths: [/r], service: s}]\n')
    Path("parts/sub/b.yml").write_text('_format_version: "3.0"\nservices: [{name: s, url: "http://s"}]\n')
    Path("parts/notes.txt").write_text("not YAML: [")
    result = RUN.invoke(main, args)
    assert result.stdout == "no findings\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.yaml", "kgate: gone.yaml: No such file or directory; name the file with -f"),
        ("*.nope", "kgate: *.nope: no file matches; name another with -f"),
        ("empty", "kgate: empty: no .yaml, .yml, .json file in this folder; name another with -f"),
    ],
)
def test_no_such_file(project_dir: Path, name: str, message: str) -> None:
    Path("empty").mkdir()
    result = RUN.invoke(main, ["lint", "-f", name])
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr == message + "\n"


def test_the_environment_is_used(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("gateway.yaml").write_text('_format_version: ${{ env "VERSION" }}\n')
    assert "environment variable VERSION is not set" in RUN.invoke(main, ["lint"]).stdout
    monkeypatch.setenv("VERSION", "3.0")
    assert RUN.invoke(main, ["lint"]).stdout == "no findings\n"
