"""The files that a command works on, and the project in them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from cli.errors import UsageError
from cli.options import DEFAULT_FILE, FILES_KEY
from decl.load import Text
from decl.project import Project, open_project

SUFFIXES = (".yaml", ".yml", ".json")


def read_project(ctx: click.Context, files: tuple[Path, ...]) -> Project:
    """The project in the files named before and after the command. Raises UsageError."""
    named = (*ctx.find_root().ensure_object(dict).get(FILES_KEY, ()), *files)
    return open_project(_texts(named or (Path(DEFAULT_FILE),)), os.environ)


def _texts(named: Iterable[Path]) -> Iterator[Text]:
    seen: set[Path] = set()
    for path in named:
        for file in _expand(path):
            resolved = file.resolve()
            if resolved in seen:
                continue
            seen.add(resolved)
            try:
                yield Text(str(file), file.read_bytes())
            except OSError as error:
                raise UsageError(f"{file}: {error.strerror}; name the file with -f") from error


def _expand(path: Path) -> list[Path]:
    """The files that one -f names: a folder's YAML and JSON files with its sub-folders', sorted."""
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        if not found:
            raise UsageError(f"{path}: no {', '.join(SUFFIXES)} file in this folder; name another with -f")
        return found
    if not path.exists() and glob.has_magic(str(path)):
        found = sorted(Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_file())
        if not found:
            raise UsageError(f"{path}: no file matches; name another with -f")
        return found
    return [path]
