"""The commands of docs/compose.md, docs/kubernetes.md and docs/doctor.md are those of the files and of the CLI."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from cli.main import main
from tests.deploy.composed import ROOT, SERVICES

PAGES = ("compose", "kubernetes", "doctor")
TEXTS = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in PAGES}
TEXTS["docker-compose.yml"] = "\n".join(
    f"```sh\n{line[4:]}\n```"
    for line in (ROOT / "docker-compose.yml").read_text().splitlines()
    if re.match(r"#   (sh|docker|kgate) ", line)
)
LINES = [
    (page, part)
    for page, text in TEXTS.items()
    for block in re.findall(r"```sh\n(.*?)```", text, re.S)
    for line in block.splitlines()
    for part in re.split(r" && ", line)
]


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def check_cli(args: list[str]) -> None:
    """The options of a kgate command are parsed as on the command line; nothing is run."""
    with click.Context(main) as top:
        name = next(word for word in args if not word.startswith("-"))
        command = main.get_command(top, name)
        assert command is not None, name
        rest = args[args.index(name) + 1 :]
        while isinstance(command, click.Group):
            inner = command.get_command(top, rest[0])
            assert inner is not None, rest
            command, rest = inner, rest[1:]
        command.make_context(name, rest, parent=top)


KGATE = [(page, line) for page, line in LINES if words(line)[:1] == ["kgate"]]
COMPOSE = [(page, line) for page, line in LINES if words(line)[:2] == ["docker", "compose"]]


def test_there_are_some() -> None:
    assert len(KGATE) > 10
    assert len(COMPOSE) > 8


@pytest.mark.parametrize(("page", "line"), KGATE)
def test_a_kgate_command(page: str, line: str) -> None:
    check_cli(words(line)[1:])


@pytest.mark.parametrize(("page", "line"), COMPOSE)
def test_a_compose_command(page: str, line: str) -> None:
    args = words(line)[2:]
    profiles = {profile for made in SERVICES.values() for profile in made.get("profiles", ())}
    while args[0] == "--profile":
        assert args[1] in profiles
        args = args[2:]
    verb, *rest = args
    assert verb in {"up", "run", "stop", "logs"}
    named = [word for word in rest if not word.startswith("-")]
    if verb == "run":
        assert named[0] == "cli"
        check_cli(rest[rest.index("cli") + 1 :])
    else:
        assert set(named) <= set(SERVICES)


def test_files_that_are_named_are_there() -> None:
    for text in TEXTS.values():
        for name in re.findall(r"\b(?:deploy|docker)/[\w./-]+\w", text):
            made = name.endswith("kong.json") or re.match(r"deploy/compose/secrets(/|$)", name)
            if not made:
                assert (ROOT / name).exists(), name


def test_the_ports_of_the_table() -> None:
    rows = re.findall(r"^\| `?(\w+)`? .*\| ([^|]*) \|$", TEXTS["compose"], re.M)
    told = {port for _, cell in rows for port in re.findall(r"\d{4}", cell)}
    published = {port.split(":")[1] for made in SERVICES.values() for port in made.get("ports", ())}
    assert told == published


def test_the_doctors_checks_are_all_told() -> None:
    from cli.doctor.registry import CHECKS

    assert re.findall(r"^\| `([a-z-]+)` \|", TEXTS["doctor"], re.M) == list(CHECKS)
