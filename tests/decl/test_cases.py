"""The corpus: each folder of cases/ is a set of files with what must come out of it.

findings.txt holds the findings, kong.json what is rendered (only where there are no errors), env.json the
environment; envs/NAME/ is an overlay that is merged, .kgate.yaml the settings, .kgate/schemas the schema pack.
"""

import json
import os
from pathlib import Path

import pytest

from cli.settings import read_settings
from decl.load import Text
from decl.project import Options, open_project
from decl.render import render

CASES = Path(__file__).parent / "cases"
FOLDERS = sorted(path for path in CASES.iterdir() if path.is_dir())


def outcome(folder: Path) -> tuple[str, str | None]:
    """The findings as text, and the rendered document as text when there is one."""
    texts = [Text(path.name, path.read_bytes()) for path in sorted(folder.glob("[!.]*.yaml"))]
    for path in sorted(folder.glob("envs/*/*.yaml")):
        texts.append(Text(os.path.relpath(path, folder), path.read_bytes(), overlay=True))
    env_file = folder / "env.json"
    env = json.loads(env_file.read_text()) if env_file.exists() else {}
    options = Options()
    if (folder / ".kgate.yaml").exists():
        settings, pack = read_settings(folder)
        options = Options(settings, pack)
    project = open_project(texts, env, options)
    findings = "".join(f"{finding}\n" for finding in project.findings)
    if project.gateway is None:
        return findings, None
    cluster = next(iter(project.gateway.clusters), "default")
    document = render(project.gateway, cluster).document
    return findings, json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_case(folder: Path) -> None:
    findings, rendered = outcome(folder)
    assert findings == (folder / "findings.txt").read_text()
    expected = folder / "kong.json"
    assert rendered == (expected.read_text() if expected.exists() else None)


def test_the_corpus_is_there() -> None:
    assert len(FOLDERS) >= 15
