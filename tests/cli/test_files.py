"""The files that -f names: what cannot be read is told, and never left out in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main

HEAD = '_format_version: "3.0"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gw").mkdir()
    (tmp_path / "gw" / "a.yaml").write_text(HEAD)
    return tmp_path


def lint(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["lint", *arguments], input=stdin)


def refused(message: str, *arguments: str) -> None:
    result = lint(*arguments)
    assert result.exit_code == exit_codes.USAGE, result.output
    assert message in result.stderr


def test_a_link_that_leads_nowhere() -> None:
    Path("gw/b.yaml").symlink_to("nowhere")
    refused("gw/b.yaml: No such file or directory", "-f", "gw")
    refused("gw/b.yaml: No such file or directory", "-f", "g*/*.yaml")
    Path("gw/note.txt").symlink_to("nowhere")  # no gateway file
    Path("gw/b.yaml").unlink()
    assert lint("-f", "gw").exit_code == 0


def test_links_in_a_circle() -> None:
    Path("loop.yaml").symlink_to("loop.yaml")
    refused("loop.yaml: Too many levels of symbolic links", "-f", "loop.yaml")
    Path("gw/loop.yaml").symlink_to("loop.yaml")
    refused("gw/loop.yaml: Too many levels of symbolic links", "-f", "gw")


def test_a_link_to_a_folder_above_ends() -> None:
    Path("gw/again").symlink_to("..")
    assert lint("-f", "gw").exit_code == 0


def test_links_to_files_are_read_as_in_a_mounted_config_map() -> None:
    Path("gw/..data").mkdir()
    Path("gw/..data/b.yaml").write_text(HEAD + "nope: 1\n")
    Path("gw/b.yaml").symlink_to("..data/b.yaml")
    assert "gw/b.yaml:2:1: error[unknown-field]" in lint("-f", "gw").stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read() -> None:
    Path("gw/sub").mkdir(mode=0)
    refused("gw/sub: Permission denied", "-f", "gw")


def test_a_folder_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("gw/sub").mkdir()
    real = os.scandir

    def scandir(path: str | os.PathLike[str] = ".") -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    refused("gw/sub: Permission denied", "-f", "gw")


def test_what_is_no_file_is_not_waited_for() -> None:
    os.mkfifo("gw/pipe.yaml")
    Path("gw/folder.yaml").mkdir()
    assert lint("-f", "gw").exit_code == 0


def test_stdin_is_read_once() -> None:
    result = lint("-f", "-", "-f", "gw", "-f", "-", stdin=HEAD + "nope: 1\n")
    assert result.stdout.count("error") == 2  # the finding and the sum
    assert "<stdin>:2:1: error[unknown-field]" in result.stdout


@pytest.mark.parametrize("name", ["no/such/folder/x.sarif", "gw"])
def test_a_report_that_cannot_be_written(name: str) -> None:
    result = lint("-f", "gw", "--output", f"sarif={name}")
    assert result.exit_code == exit_codes.FAILED
    assert f"kgate: cannot write {name}: " in result.stderr
    assert sorted(os.listdir()) == ["gw"]


def test_two_forms_for_one_file() -> None:
    refused("2 forms for x", "-f", "gw", "--output", "sarif=x", "--output", "junit=x")
    assert lint("-f", "gw", "--output", "sarif=x", "--output", "sarif=x").exit_code == 0


def test_a_report_into_a_folder_that_is_no_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", denied)
    monkeypatch.setattr(Path, "unlink", denied)
    result = lint("-f", "gw", "--output", "sarif=x.sarif")
    assert result.exit_code == exit_codes.FAILED
    assert "kgate: cannot write x.sarif: Permission denied" in result.stderr
