"""What the importing commands share: reading the file, the progress bar, and telling the outcome."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from cli import crowdsec, exit_codes
from cli.errors import FailedError, UsageError
from cli.operate import Notes, StoreAt, opened
from cli.report import state as report
from kong_plugins.state.base import Conflict, Store
from kong_plugins.state.operations.import_rows import BadRows
from kong_plugins.state.operations.imports import remove, sources
from kong_plugins.state.operations.row_sets import ImportReport, Progress

F = TypeVar("F", bound=Callable[..., Any])

MAX_BYTES = 256 * 1024 * 1024
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def import_options(*more: str) -> Callable[[F], F]:
    """Argument FILE and options --name, --format, --if-version and --dry-run. more: (format, its help)."""
    formats, helped = ["auto", *more[:1]], ("auto: plain or CSV. " + " ".join(more[1:])).strip()
    options = (
        click.option("--dry-run", is_flag=True, help="Check all rows, but write nothing."),
        click.option(
            "--if-version", type=int, help="Only if the set is at this version; 0: there is none yet."
        ),
        click.option(
            "--format", "form", type=click.Choice(formats), default="auto", show_default=True, help=helped
        ),
        click.option("--name", help="Name of the set.  [default: the file's name]"),
        click.argument("file", type=click.Path(dir_okay=False, allow_dash=True)),
    )

    def decorate(command: F) -> F:
        for option in options:
            command = option(command)
        return command

    return decorate


def set_name(file: str, name: str | None, default: str | None) -> str:
    """The name of the set: as given, or by the file. Raises UsageError."""
    if name is not None:
        return name
    if default is not None:
        return default
    if file == "-":
        raise UsageError("what comes from stdin needs a name: give --name")
    return _NOT_A_NAME.sub("-", Path(file).stem).strip("-.") or "import"


def run_import(
    operation: Callable[..., ImportReport],
    noun: str,
    arguments: tuple[str, ...],
    file: str,
    form: str,
    if_version: int | None,
    dry_run: bool,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Read the file, run the operation (store, *arguments, lines) with a progress bar, and tell its report.

    Rows that cannot be taken are told one a line, and end the command with exit 4.
    """
    text = _read(file)
    skipped, more = 0, {}
    with opened(at) as store:
        if form == "crowdsec" or (form == "auto" and noun == "blocks" and _is_json(text)):
            found = crowdsec.read(text, store.now())
            # a feed comes by itself: whom an operator allows must not stop it, and the allow wins in any case
            lines, skipped, more = list(found.lines), found.skipped, {"over_allows": True}
            if len(lines) == 1 and if_version is None:
                # CrowdSec bans nobody any more: what an earlier import blocked is lifted
                made = _emptied(store, arguments[0], notes, dry_run)
                _tell(made, noun, skipped, output)
                return
        else:
            lines = text.splitlines()
        kwargs = {"if_version": if_version, "dry_run": dry_run, **more, **notes.lasting(store)}
        try:
            with _bar(len(lines)) as progress:
                made = operation(store, *arguments, lines, progress=progress, **kwargs)
        except BadRows as error:
            _tell_problems(error, file, output)
            raise click.exceptions.Exit(exit_codes.FINDINGS) from error
        except Conflict as error:
            now = "there is none" if error.current is None else f"{error.current.actor} replaced it"
            raise FailedError(
                f"{arguments[0]}: the set is not at version {if_version}: {now}; look again"
            ) from error
    _tell(made, noun, skipped, output)


def _emptied(store: Store, name: str, notes: Notes, dry_run: bool) -> ImportReport:
    """Lift a set, which need not be there."""
    size = next((held.size for held in sources(store) if held.name == name), None)
    if size is not None and not dry_run:
        remove(store, name, **notes.said())
    return ImportReport(name, "blocks", 0, 0, size or 0, 0, 0, dry_run)


def _tell(made: ImportReport, noun: str, skipped: int, output: str) -> None:
    if output == "json":
        click.echo(report.dump({**made._asdict(), "skipped": skipped}))
        return
    verb = "would import" if made.dry_run else "imported"
    more = f", {made.same:,} lines said the same again" if made.same else ""
    more += f", {skipped:,} decisions skipped" if skipped else ""
    click.echo(f"{verb} {made.size:,} {noun} as {made.name}: {made.added:,} new, {made.removed:,} gone{more}")


def _is_json(text: str) -> bool:
    # no target begins so; null is what cscli prints for none
    return text.lstrip()[:1] in ("[", "{") or text.strip() == "null"


def _tell_problems(error: BadRows, file: str, output: str) -> None:
    if output == "json":
        rows = [{"file": file, "line": one.line, "message": one.message} for one in error.problems]
        click.echo(report.dump({"problems": rows, "count": error.count}))
        return
    for one in error.problems:
        click.echo(f"{file}:{one.line}: {report.printable(one.message)}", err=True)
    more = f" ({error.count - len(error.problems):,} more)" if error.count > len(error.problems) else ""
    rows_ = "1 row" if error.count == 1 else f"{error.count:,} rows"
    click.echo(f"kgate: {rows_} cannot be taken{more}; nothing was written", err=True)


def _read(file: str) -> str:
    try:
        if file == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as opened_file:
                raw = opened_file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise UsageError(f"{file}: more than {MAX_BYTES >> 20} MB")
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text (byte {error.start})") from error


@contextmanager
def _bar(total: int) -> Iterator[Progress | None]:
    """A bar on stderr where that is a terminal: first the rows that were checked, then those that were sent."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=2 * total, label=f"{total:,} rows", file=sys.stderr) as bar:
        last, sending = 0, False

        def progress(done: int) -> None:
            nonlocal last, sending
            sending = sending or done < last
            last = done
            bar.update(max(0, min(done, total) + (total if sending else 0) - bar.pos))

        yield progress
        bar.update(max(0, 2 * total - bar.pos))
