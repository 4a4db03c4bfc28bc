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
    seen: set[str] = set()
    for path in named:
        if str(path) == STDIN:
            if STDIN not in seen:
                yield Text("<stdin>", sys.stdin.buffer.read())
            seen.add(STDIN)
            continue
        for file in _expand(path):
            resolved = os.path.realpath(file)
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
        found = sorted(_in_folder(path))
        if not found:
            raise UsageError(f"{path}: no {', '.join(SUFFIXES)} file in this folder; name another with -f")
        return found
    if not path.exists() and glob.has_magic(str(path)):
        found = sorted(filter(_is_meant, map(Path, glob.glob(str(path), recursive=True))))
        if not found:
            raise UsageError(f"{path}: no file matches; name another with -f")
        return found
    return [path]


def _in_folder(folder: Path) -> Iterator[Path]:
    """The gateway files in a folder. Raises UsageError for a sub-folder that cannot be read: without its files a sync
    would delete what they say."""

    def told(error: OSError) -> None:
        raise UsageError(f"{error.filename}: {error.strerror}; the folder was not read") from error

    for place, folders, names in os.walk(folder, onerror=told):
        here = Path(place)
        folders[:] = [name for name in folders if not _is_left_out((here / name).relative_to(folder))]
        for file in (here / name for name in names):
            if file.suffix not in SUFFIXES or _is_left_out(file.relative_to(folder)):
                continue
            if _is_meant(file):
                yield file


def _is_meant(file: Path) -> bool:
    """A file, or a link that leads nowhere: reading that says so. No folder, no pipe."""
    return file.is_file() or not os.path.exists(file)


def _is_left_out(file: Path) -> bool:
    """Hidden files and folders, overlays, and packs of schemas, which have a `.kgate-pack` beside them."""
    return file.parts[0] == OVERLAYS or any(part.startswith(".") for part in file.parts)
