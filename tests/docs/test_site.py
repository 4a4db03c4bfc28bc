"""The documentation as a whole: its pages, links, and the parts that are made of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from cli.main import main
from kong_plugins.engine.registry import PLUGINS
from tests.docs import cli_reference, options
from tests.docs.blocks import PAGES, ROOT

DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def slug(heading: str) -> str:
    """The anchor of a heading, as Python-Markdown and GitHub make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def without_code(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_every_page_is_in_the_navigation() -> None:
    def pages(entries: list[object]) -> list[str]:
        found: list[str] = []
        for entry in entries:
            found += (
                pages(next(iter(entry.values())))
                if isinstance(entry, dict)
                else [entry]
                if isinstance(entry, str)
                else []
            )
        return found

    nav = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert sorted(nav) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "SECURITY.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(without_code(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = {slug(h) for h in re.findall(r"^#+ (.+)$", without_code(file), re.MULTILINE)}
            assert anchor in headings, f"{page.name}: {target}: no such heading"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_option_is_told_and_no_other(plugin: str) -> None:
    assert set(options.told()[plugin]) == {path for path, _ in options.walk(PLUGINS[plugin].schema)}


@pytest.mark.parametrize("page", options.pages(), ids=lambda page: page.name)
def test_the_options_of_a_page_are_those_of_the_schema(page: Path) -> None:
    """`make generated` writes them."""
    assert page.read_text("utf-8") == options.pages()[page]


def test_the_reference_has_every_command_and_option() -> None:
    """click's own layout may change with its version; what is there may not."""
    assert isinstance(main, click.Group)
    sections = dict(
        re.findall(r"^#+ (kgate[^\n]*)\n(.*?)(?=^#|\Z)", cli_reference.PAGE.read_text("utf-8"), re.M | re.S)
    )
    found = dict(cli_reference.commands(main, "kgate"))
    assert set(sections) == {"kgate", *found}
    for name, command in found.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[0] in sections[name], f"{name} {parameter.opts[0]}"


def test_the_site_builds(tmp_path: Path) -> None:
    """Strict: a missing page, link or anchor is an error."""
    pytest.importorskip("material", reason="the documentation's theme is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "getting-started" / "index.html").exists()
