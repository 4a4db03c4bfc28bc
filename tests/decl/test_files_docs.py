"""The examples of docs/files.md are files that kgate takes."""

import re
from pathlib import Path

import pytest

import decl
from decl.load import Text
from decl.project import open_project

PAGE = (Path(decl.__path__[0]).parent / "docs" / "files.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example(number: int) -> None:
    overlay = "_format_version" not in BLOCKS[number]
    texts = [Text("example.yaml", BLOCKS[number].encode(), overlay)]
    if overlay:
        base = next(block for block in BLOCKS if "tenants:" in block)
        texts.insert(0, Text("base.yaml", base.encode()))
    found = [str(finding) for finding in open_project(texts, {}).findings]
    assert found == []
