"""What the supervisor and its processes are started with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from kong_plugins.server.peers import Allowed


class Options(NamedTuple):
    """deadline is seconds. state_dir: where the control state is saved. inline_issuers: a passport config in Kong may
    bring trust anchors (tests, laptops). leases: a verdict may stand for more than its request (leases.py)."""

    run_dir: Path
    config: Path | None
    workers: int
    deadline: float
    log_level: str
    log_format: str
    allowed: Allowed
    metrics: tuple[str, int] | None = None
    gid: int | None = None
    inline_issuers: bool = False
    state_dir: Path | None = None
    leases: bool = True

    @property
    def saved_in(self) -> Path:
        """The state dir."""
        return self.run_dir / "state" if self.state_dir is None else self.state_dir


def keeper_command(options: Options, channel_fd: int, cells_fd: int) -> list[str]:
    """How the keeper is started; it inherits both descriptors."""
    command = [sys.executable, "-m", "kong_plugins.server.keeper", "--channel-fd", str(channel_fd)]
    command += ["--cells-fd", str(cells_fd), "--state-dir", str(options.saved_in)]
    command += ["--log-level", options.log_level, "--log-format", options.log_format]
    return command + (["--config", str(options.config)] if options.config else [])


def analysis_command(options: Options, channel_fd: int, cells_fd: int) -> list[str]:
    """How the analysis is started; it inherits both descriptors."""
    command = [sys.executable, "-m", "kong_plugins.server.analysis", "--channel-fd", str(channel_fd)]
    command += [
        "--cells-fd",
        str(cells_fd),
        "--log-level",
        options.log_level,
        "--log-format",
        options.log_format,
    ]
    return command + (["--config", str(options.config)] if options.config else [])


def worker_command(options: Options, channel_fd: int, cells_fd: int) -> list[str]:
    """How a worker process is started; it inherits its end of the channel and the cells under these numbers."""
    command = [sys.executable, "-m", "kong_plugins.server.worker", "--channel-fd", str(channel_fd)]
    command += [
        "--cells-fd",
        str(cells_fd),
        "--run-dir",
        str(options.run_dir),
        "--deadline",
        str(options.deadline),
    ]
    command += ["--log-level", options.log_level, "--log-format", options.log_format]
    command += ["--config", str(options.config)] if options.config else []
    command += ["--allow-inline-issuers"] if options.inline_issuers else []
    command += [] if options.leases else ["--no-leases"]
    return command
