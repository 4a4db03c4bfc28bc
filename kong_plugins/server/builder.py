"""Builds an image of the control state in a process of its own (see `building.py`).

A million rows take seconds and gigabytes: there they cost the keeper nothing, and the processor goes to those that
serve first.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from kong_plugins.state.files import drop_scratch, scratch_image
from kong_plugins.state.follower import Build, Built
from kong_plugins.state.image import Image, StateFileError

log = logging.getLogger("kgate.keeper")

PATIENCE = ((12.0, ("--idle",)), (120.0, ()))
"""(seconds, options) of the tries. The first takes what nobody else wants of the processor, which is nothing on a
machine that is busy all the time: then it is tried again as a nice process, and given up after two minutes."""


def build_apart(config: Path | None, state_dir: Path, namespace: str) -> Build:
    """A `Build` that starts a builder each time. Its image is in the state dir, too."""
    options = ["--keeper", str(os.getpid()), "--state-dir", str(state_dir)]
    options += ["--config", str(config)] if config else []

    def build() -> Built:
        for seconds, more in PATIENCE:
            try:
                return _built(seconds, [*options, *more], scratch_image(state_dir), namespace)
            except subprocess.TimeoutExpired:
                log.info("control state: no image within %g s", seconds)
            except OSError as error:
                raise StateFileError(str(error)) from error
        raise StateFileError(f"the builder was given up after {PATIENCE[-1][0]:g} s")

    return build


def _built(seconds: float, options: list[str], file: Path, namespace: str) -> Built:
    """The image of one try. Raises TimeoutExpired, StateFileError, OSError."""
    fd = os.memfd_create("kgate-image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    command = [
        sys.executable,
        "-m",
        "kong_plugins.server.building",
        "--fd",
        str(fd),
        "--file",
        str(file),
        *options,
    ]
    try:
        done = subprocess.run(
            command, pass_fds=[fd], timeout=seconds, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            last = done.stderr.strip().rpartition("\n")[2]
            raise StateFileError(f"the builder ended with {done.returncode}: {last}")
        # sealed by a process of ours: to read it all once more would take the processor from those that serve
        return Built(Image.open(fd, namespace=namespace), fd, file)
    except (subprocess.TimeoutExpired, StateFileError, OSError):
        os.close(fd)
        drop_scratch(file)
        raise
