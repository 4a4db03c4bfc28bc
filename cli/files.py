"""The files that a command works on, and the project in them."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.errors import UsageError
from cli.options import DEFAULT_FILE, ENV_KEY, FILES_KEY
from cli.settings import read_settings
from decl.lint.view import State
from decl.load import Text
from decl.project import Options, Project, open_project

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
OVERLAYS = "envs"
"""The folder with a sub-folder for each environment: read with --env only."""


def read_project(
    ctx: click.Context, files: tuple[Path, ...], state: State | None = None, rules: bool = True
) -> Project:
    """The project in the files named before and after the command, with the overlay of --env and the settings
    of `.kgate.yaml`. state: what the control state says; rules: whether lint rules are wanted. Raises
    UsageError."""
    found = ctx.find_root().ensure_object(dict)
    named = (*found.get(FILES_KEY, ()), *files) or (Path(DEFAULT_FILE),)
    settings, pack = read_settings(named[0])
    today = datetime.now(UTC).date().isoformat()
    texts = [*read_texts(named), *_overlays(named, found.get(ENV_KEY))]
    return open_project(texts, os.environ, Options(settings, pack, today, state, rules))


def _overlays(named: tuple[Path, ...], env: str | None) -> Iterator[Text]:
    """The files of envs/ENV/ beside each named file and in each named folder."""
    if env is None:
        return
    folders = dict.fromkeys((path if path.is_dir() else path.parent) / OVERLAYS / env for path in named)
    there = [folder for folder in folders if folder.is_dir()]
    if not there:
        raise UsageError(f"--env {env}: there is no folder {' or '.join(map(str, folders))}")
    for text in read_texts(there):
        yield text._replace(overlay=True)


def read_texts(named: Iterable[Path]) -> Iterator[Text]:
    """The texts of files, folders and globs, each once. Raises UsageError."""
    seen: set[Path] = set()
    for path in named:
        if str(path) == STDIN:
            yield Text("<stdin>", sys.stdin.buffer.read())
            continue
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
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix in SUFFIXES and not _is_left_out(file.relative_to(path)) and file.is_file()
        )
        if not found:
            raise UsageError(f"{path}: no {', '.join(SUFFIXES)} file in this folder; name another with -f")
        return found
    if not path.exists() and glob.has_magic(str(path)):
        found = sorted(Path(match) for match in glob.glob(str(path), recursive=True) if Path(match).is_file())
        if not found:
            raise UsageError(f"{path}: no file matches; name another with -f")
        return found
    return [path]


def _is_left_out(file: Path) -> bool:
    """Hidden files and folders, overlays, and packs of schemas, which have a `.kgate-pack` beside them."""
    return file.parts[0] == OVERLAYS or any(part.startswith(".") for part in file.parts)
