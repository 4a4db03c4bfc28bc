import hashlib
import json
import os
import stat
import threading
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli import exit_codes
from cli.main import main

RUN = CliRunner()


def test_to_stdout(project_dir: Path) -> None:
    result = RUN.invoke(main, ["render"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert [service["name"] for service in document["services"]] == ["cart", "other"]
    compact = RUN.invoke(main, ["render", "--output", "json"]).stdout
    assert json.loads(compact) == document
    assert compact.count("\n") == 1


def test_to_a_file(project_dir: Path) -> None:
    result = RUN.invoke(main, ["render", "-o", "kong.json", "--output", "json"])
    content = Path("kong.json").read_bytes()
    assert json.loads(result.stdout) == {
        "version": 1,
        "file": "kong.json",
        "cluster": "one",
        "bytes": len(content),
        "hash": hashlib.md5(content).hexdigest(),
    }
    assert content == json.dumps(json.loads(content), sort_keys=True, separators=(",", ":")).encode()
    again = RUN.invoke(main, ["render", "-o", "kong.json"])
    assert "wrote kong.json" in again.stderr
    assert Path("kong.json").read_bytes() == content
    assert sorted(path.name for path in project_dir.iterdir()) == ["gateway.yaml", "kong.json"]


def test_server_yaml(project_dir: Path) -> None:
    result = RUN.invoke(main, ["render", "--server", "-o", "server.yaml"])
    assert result.exit_code == 0
    assert yaml.safe_load(Path("server.yaml").read_text()) == {
        "issuers": [{"name": "main", "iss": "https://a", "jwks_url": "http://a/jwks", "audiences": ["shop"]}]
    }
    assert Path("server.yaml").stat().st_mode & 0o777 == 0o600
    assert RUN.invoke(main, ["render", "--server"]).stdout == Path("server.yaml").read_text()


def test_one_tenant(project_dir: Path) -> None:
    document = json.loads(RUN.invoke(main, ["render", "--tenant", "shop"]).stdout)
    assert [service["name"] for service in document["services"]] == ["cart"]
    result = RUN.invoke(main, ["render", "--tenant", "shoop"])
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr == "kgate: there is no tenant 'shoop'; the files have shop\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "kgate: the files have several clusters; choose one with --cluster: one, two\n"),
        (["--cluster", "three"], "kgate: there is no cluster 'three'; the files have one, two\n"),
    ],
)
def test_which_cluster(project_dir: Path, args: list[str], message: str) -> None:
    Path("more.yaml").write_text('_format_version: "3.0"\nclusters: {two: {mode: db}}\n')
    result = RUN.invoke(main, ["-f", ".", "render", *args])
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr == message
    assert RUN.invoke(main, ["-f", ".", "render", "--cluster", "two"]).exit_code == 0


def test_errors_in_the_files_stop_it(project_dir: Path) -> None:
    Path("gateway.yaml").write_text("a: [\n")
    result = RUN.invoke(main, ["render", "-o", "kong.json"])
    assert result.exit_code == exit_codes.FINDINGS
    assert result.stdout == ""
    assert "gateway.yaml:2:1: error[yaml-syntax]" in result.stderr
    assert not Path("kong.json").exists()


def test_a_file_that_cannot_be_written(project_dir: Path) -> None:
    result = RUN.invoke(main, ["render", "-o", "no/such/folder/kong.json"])
    assert result.exit_code == exit_codes.FAILED
    assert result.stderr == "kgate: cannot write no/such/folder/kong.json: No such file or directory\n"


def test_a_device_or_a_pipe_is_written_to_and_not_replaced(project_dir: Path) -> None:
    os.mkfifo("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
    reader.start()
    assert RUN.invoke(main, ["render", "-o", "pipe"]).exit_code == 0
    reader.join(30)
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    assert json.loads(read[0])["_format_version"] == "3.0"


def test_a_pipe_that_has_no_name_in_a_folder(project_dir: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader:
        assert RUN.invoke(main, ["render", "-o", f"/dev/fd/{writing}"]).exit_code == 0
        os.close(writing)
        assert json.loads(reader.read())["_format_version"] == "3.0"


def test_a_link_stays_a_link(project_dir: Path) -> None:
    Path("real.json").write_text("old")
    Path("link.json").symlink_to("real.json")
    assert RUN.invoke(main, ["render", "-o", "link.json"]).exit_code == 0
    assert Path("link.json").is_symlink()
    assert "_format_version" in Path("real.json").read_text()
