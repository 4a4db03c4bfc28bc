"""Several forms of the same findings at once: `--output human --output sarif=lint.sarif`."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from cli.errors import FailedError, UsageError
from cli.report import github, human, junit, parsable, sarif
from cli.report import json as json_report
from decl.project import Project

F = TypeVar("F", bound=Callable[..., Any])

FORMS: dict[str, Callable[[Project], str]] = {
    "human": lambda p: "\n".join(human.findings(p.findings, p.texts, p.secrets)) or "no findings",
    "parsable": lambda p: parsable.findings(p.findings),
    "json": lambda p: json_report.findings(p.findings),
    "github": lambda p: github.findings(p.findings),
    "sarif": lambda p: sarif.findings(p.findings),
    "junit": lambda p: junit.findings(p.findings, p.texts),
}
"""The forms by name; human names findings with the line they stand in."""


class Output(NamedTuple):
    """A form, and the file that it goes to; None is stdout."""

    form: str
    file: Path | None


class _OutputType(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    name = "FORM[=FILE]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Output:
        if isinstance(value, Output):
            return value
        form, equals, file = str(value).partition("=")
        if form not in FORMS:
            self.fail(f"{form!r} is no form; write {', '.join(FORMS)}", param, ctx)
        if equals and not file:
            self.fail(f"{form}= needs a file name", param, ctx)
        return Output(form, Path(file) if file else None)


def output_option(command: F) -> F:
    """Option --output, repeatable."""
    return click.option(
        "--output",
        "outputs",
        multiple=True,
        type=_OutputType(),
        default=["human"],
        show_default=True,
        help=f"{', '.join(FORMS)}; FORM=FILE writes to a file. May be given several times.",
    )(command)


def write(project: Project, outputs: Sequence[Output]) -> None:
    """Write every form that is asked for. Raises UsageError for two forms of one file, FailedError for a file that
    cannot be written."""
    files = Counter(output.file for output in dict.fromkeys(outputs) if output.file is not None)
    for file, count in files.items():
        if count > 1:
            raise UsageError(f"--output: {count} forms for {file}; name a file for each")
    for output in dict.fromkeys(outputs):
        text = FORMS[output.form](project)
        if output.file is None:
            if text:
                click.echo(text)
            continue
        temporary = output.file.with_name(f".{output.file.name}.{os.getpid()}")
        try:
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.replace(output.file)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise FailedError(f"cannot write {output.file}: {error.strerror}") from error
