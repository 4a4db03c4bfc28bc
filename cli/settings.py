"""`.kgate.yaml` and the schema pack that it names, read from the files' folder or one above it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cli.errors import UsageError
from decl.lint import OPTIONS
from decl.load import Text, load
from decl.pack import Pack
from decl.settings import FILE_NAME, Settings, parse
from decl.validate.kong_checks import config_of


def read_settings(named: Path) -> tuple[Settings, Pack]:
    """The settings that hold for a file or folder, and its schema pack. Raises UsageError with the place."""
    start = (named if named.is_dir() else named.parent).absolute()
    for folder in (start, *start.parents):
        file = folder / FILE_NAME
        if file.is_file():
            settings = _parsed(file)
            pack = Pack() if settings.schemas is None else Pack(read_pack(folder / settings.schemas))
            return settings, pack
        if (folder / ".git").exists():
            break  # settings do not cross a repository's border
    return Settings(), Pack()


def _parsed(file: Path) -> Settings:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    if not content.strip():
        return Settings()
    loaded = load((Text(str(file), content),))  # as the files themselves are read: `off` is text
    if loaded.findings:
        raise UsageError(str(loaded.findings[0]))
    try:
        return parse(loaded.document, OPTIONS)
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error


def read_pack(folder: Path) -> dict[str, Any]:
    """The plugins' schemas in a folder that `kgate schema pull` wrote, by name. Raises UsageError."""
    found: dict[str, Any] = {}
    try:
        files = sorted(folder.glob("*.json"))
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    if not files:
        raise UsageError(f"{folder}: no schemas here; kgate schema pull writes them")
    for file in files:
        try:
            schema = json.loads(file.read_bytes())
            config_of(schema)
        except (OSError, ValueError) as error:
            raise UsageError(f"{file}: {error}; run kgate schema pull again") from error
        found[file.stem] = schema
    return found
