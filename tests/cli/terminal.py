"""A command with a terminal on stderr, as a person has it, and pipes elsewhere."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """What a command wrote where; `screen` is the bytes that the terminal got, as text."""

    code: int
    stdout: str
    screen: str


def on_terminal(*arguments: str, cwd: Path, **env: str) -> Ran:
    """Run `kgate ARGUMENTS` with stderr on a pseudo-terminal."""
    leader, follower = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: the last one who wrote has closed it
            while chunk := os.read(leader, 65536):
                seen.append(chunk)

    reader = threading.Thread(target=read)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=follower,
            text=True,
        )
        os.close(follower)
        reader.start()
        stdout, _ = process.communicate(timeout=50)
        reader.join(10)
    finally:
        os.close(leader)
    return Ran(process.returncode, stdout, b"".join(seen).decode())
