"""docs/reference/cli.md: every command's help, as click prints it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
HEAD = """# Commands

Made by `make generated` of what `kgate COMMAND --help` prints.

"""


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """All commands by their whole names, groups before their members."""
    context = click.Context(group, info_name=prefix)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        whole = f"{prefix} {name}"
        yield whole, command
        if isinstance(command, click.Group):
            yield from commands(command, whole)


def page() -> str:
    """The text of the page."""
    assert isinstance(main, click.Group)
    parts = [HEAD + _section("kgate", main, 2)]
    parts += [_section(name, command, name.count(" ") + 1) for name, command in commands(main, "kgate")]
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, command: click.Command, level: int) -> str:
    context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    return f"{'#' * level} {name}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
