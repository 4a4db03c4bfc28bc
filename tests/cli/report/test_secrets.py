"""A literal secret is in no form of the findings, however it is written in the file."""

import re
from pathlib import Path

import pytest

from cli.report.caret import Lines, caret
from cli.report.outputs import FORMS
from decl.findings import Finding
from decl.load import Text
from decl.project import Project, open_project

FILE = Path(__file__).with_name("secrets.yaml").read_text()
BROKEN = re.sub(r"secret: s3cret-F[fg]", "secret: [s3cret-Ff]", FILE).replace(
    "s3cret-Nn", "s3cret-Nn, timeout: x"
)


def opened(text: str) -> Project:
    return open_project([Text("gateway.yaml", text.encode())], {})


PROJECTS = {"warnings": opened(FILE), "errors": opened(BROKEN)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("project", PROJECTS)
def test_no_form_shows_a_secret(project: str, form: str) -> None:
    text = FORMS[form](PROJECTS[project])
    assert "gateway.yaml" in text
    assert re.findall(r"s3cret\S*", text) == []


def test_the_rule_finds_each_of_them() -> None:
    lines = {found.line for found in PROJECTS["warnings"].findings if found.rule == "literal-secret"}
    assert len(lines) >= 20


FOLDED = (10, 11)  # no finding stands within a folded text
LINES = [number for number in range(1, FILE.count("\n") + 1) if number not in FOLDED]


@pytest.mark.parametrize("number", LINES)
def test_no_line_shows_one_to_another_finding(number: int) -> None:
    project = PROJECTS["warnings"]
    found = Finding("gateway.yaml", number, 1, "error", "any", "x")
    shown = "\n".join(caret(found, Lines(project.texts, project.secrets)))
    assert "s3cret" not in shown
