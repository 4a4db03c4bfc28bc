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


def file_option(command: F) -> F:
    """Option --file/-f, repeatable."""
    return click.option(
        "--file",
        "-f",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        help=f"A file, a folder or a glob; may be given several times.  [default: {DEFAULT_FILE}]",
    )(command)
