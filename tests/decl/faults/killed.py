"""A client in a process of its own, which dies by SIGKILL in the middle of a request.

The processes are forked from one that has imported everything already: there is one for each operation of a run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.decl.faults.runs", "cli.commands.sync"])


class Victim:
    """A process that runs `target(*arguments)`; `kill` ends it at once and returns when it is gone."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self._process: ForkServerProcess = _FORKS.Process(target=target, args=arguments, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._process.start()

    def kill(self) -> None:
        """Any thread may call it."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        wait([self._process.sentinel], 20)

    def end(self) -> int | None:
        """The exit code, a negative one is a signal."""
        self._process.join(20)
        return self._process.exitcode
