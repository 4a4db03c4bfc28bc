"""Options that several commands share. Imports nothing of ours: the command group needs it at every start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_FILE = "gateway.yaml"
FILES_KEY = "files"
"""Where the group keeps its --file values in the context's object."""


ENV_KEY = "env"
"""Where --env keeps its value in the context's object."""


class _FilePath(click.Path):
    """A path that is not empty: "" would mean the working directory, with all that is in it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip() or (isinstance(value, str) and "\0" in value):
            self.fail("a file name is needed; '.' is the working directory, '-' is stdin", param, ctx)
        return super().convert(value, param, ctx)


def file_option(command: F) -> F:
    """Options --file/-f, repeatable, and --env, which read_project looks at."""
    with_env = click.option(
        "--env",
        metavar="NAME",
        expose_value=False,
        callback=_keep_env,
        help="Merge the overlay in envs/NAME/, beside each file or in each folder.",
    )(command)
    return click.option(
        "--file",
        "-f",
        "files",
        multiple=True,
        type=_FilePath(path_type=Path),
        help="A file, a folder, a glob or - for stdin; may be given several times.  "
        f"[default: {DEFAULT_FILE}]",
    )(with_env)


def _keep_env(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not value or "/" in value or value.startswith("."):
            raise click.BadParameter("the name of a folder in envs/ is needed", ctx, param)
        ctx.find_root().ensure_object(dict)[ENV_KEY] = value
