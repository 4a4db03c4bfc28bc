"""One result as human lines or as one line of JSON. Others may wait for it on a pipe."""

from __future__ import annotations

import json
from typing import Any

import click


def emit(output: str, data: dict[str, Any], *lines: str) -> None:
    """Print `data` as JSON when output is "json", else the lines."""
    for line in [json.dumps(data)] if output == "json" else lines:
        click.echo(line)  # click flushes
