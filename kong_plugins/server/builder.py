"""Builds an image of the control state in a process of its own: `python -m kong_plugins.server.builder`.

A million rows take seconds and gigabytes: here they cost the keeper nothing, and the processor goes to those that
serve first. The image goes into memory that the keeper passed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from kong_plugins.server.config import ServerConfigError, load
from kong_plugins.state.base import StoreError
from kong_plugins.state.build_image import build_image
from kong_plugins.state.files import state_key
from kong_plugins.state.follower import Build, Built
from kong_plugins.state.image import Image, StateFileError
from kong_plugins.state.open import open_store

NICE = 10
SECONDS = 120.0
"""A build that takes longer is given up."""


def build_apart(config: Path | None, state_dir: Path, key: bytes, namespace: str) -> Build:
    """A `Build` that starts a builder each time."""

    def build() -> Built:
        fd = os.memfd_create("kgate-image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        command = [sys.executable, "-m", "kong_plugins.server.builder", "--fd", str(fd)]
        command += ["--state-dir", str(state_dir)]
        command += ["--config", str(config)] if config else []
        try:
            done = subprocess.run(
                command, pass_fds=[fd], timeout=SECONDS, stderr=subprocess.PIPE, text=True, check=False
            )
            if done.returncode:
                last = done.stderr.strip().rpartition("\n")[2]
                raise StateFileError(f"the builder ended with {done.returncode}: {last}")
            return Built(Image.open(fd, key, namespace), fd)
        except (subprocess.TimeoutExpired, StateFileError, OSError) as error:
            os.close(fd)
            raise StateFileError(str(error)) from error

    return build


def write_sealed(fd: int, data: bytes) -> None:
    """Fill a memfd, and let nobody change it any more. Raises OSError."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(fd, view) :]
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def main() -> None:
    """The builder's own process: ends with 1 and one line when there is no image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    args = parser.parse_args()
    os.nice(NICE)
    try:
        config = load(args.config, os.environ)
        redis = config.redis
        key = state_key(args.state_dir, config.state_key_file, config.base_dir)
        dump = open_store(redis.url, redis.namespace, redis.ca_file).load()
        write_sealed(args.fd, build_image(dump, namespace=redis.namespace, built=time.time(), key=key))
    except (StoreError, ServerConfigError, ValueError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
