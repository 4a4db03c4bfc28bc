"""The wheel holds everything that `kgate render` and Kong need, and runs in an empty environment."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)  # the fixture builds it
CONFIG = """
_format_version: "3.0"
clusters: {main: {mode: dbless, nodes: ["http://127.0.0.1:8001"]}}
services:
- name: shop
  url: http://shop.internal:8080
  routes: [{name: shop, paths: [/shop]}]
  plugins: [{name: abuse-guard}]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # a copy: a build leaves its own folder behind, which a later build would take up
    source = folder / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "tests", "__pycache__", "*.egg-info")
    )
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_schemas_and_lua(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    source = {
        str(path.relative_to(ROOT))
        for folder in ("kong_plugins", "schemas", "sandbox", "decl", "cli")
        for pattern in ("*.lua", "*.json", "*.py")
        for path in (ROOT / folder).rglob(pattern)
        if "__pycache__" not in path.parts
    }
    assert source - names == set()
    assert not [name for name in names if name.startswith(("tests/", "bench/", "examples/"))]


def test_the_wheel_renders_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)  # this one's pip does for both
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    install += ["--no-index", "--disable-pip-version-check", wheel]
    subprocess.run(install, check=True, timeout=240, capture_output=True)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    # the dependencies come from here; on PYTHONPATH no .pth of an editable install is read
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    env["PYTHONPATH"] = sysconfig.get_paths()["purelib"]
    command = [tmp_path / "venv" / "bin" / "kgate", "-f", tmp_path / "gateway.yaml", "render"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    rendered = json.loads(done.stdout)
    assert {plugin["name"] for plugin in rendered["plugins"]} >= {"kgate", "kgate-facts"}
    where = subprocess.run(
        [python, "-c", "import decl; print(decl.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=env,
    )
    assert str(tmp_path) in where.stdout, "the wheel's code ran, not this checkout's"
