"""The builder's process: reads the store, builds an image and puts it where the keeper said.

Started by the keeper (see `builder.py`) as `python -m kong_plugins.server.building`. What is imported at the top is
little: the rest is imported once the processor is left to those that serve.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from pathlib import Path

NICE = 10


def lower(idle: bool) -> None:
    """Leave the processor to others. idle: to all others; what wakes up for a request then never waits for us. A
    process that is nice alone is let finish its turn (up to 3 ms since Linux 6.6)."""
    os.nice(NICE)
    if idle and hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):  # forbidden in a container: nice it is
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def end_with(parent: int, seconds: float = 0.5) -> None:
    """End when the keeper has ended: nobody would take the image. parent: its process id; seconds: between two
    looks."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=look, name="kgate-parent", daemon=True).start()


def build(fd: int, file: Path, state_dir: Path, config_file: Path | None) -> None:
    """Fill the memory `fd` and seal it; then the file, if the disk has room. Raises what the parts raise."""
    from kong_plugins.server.config import load
    from kong_plugins.state.build_image import build_image
    from kong_plugins.state.files import state_key, write_scratch
    from kong_plugins.state.image import seal
    from kong_plugins.state.open import open_store

    config = load(config_file, os.environ)
    redis = config.redis
    key = state_key(state_dir, config.state_key_file, config.base_dir)
    dump = open_store(redis.url, redis.namespace, redis.ca_file).load()
    data = build_image(dump, namespace=redis.namespace, built=time.time(), key=key)
    seal(fd, data)
    with contextlib.suppress(OSError):  # the keeper tries it again, and tells
        write_scratch(file, data)


def main() -> None:
    """Ends with 1 and one line when there is no image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--keeper", type=int, required=True)
    parser.add_argument("--idle", action="store_true")
    args = parser.parse_args()
    end_with(args.keeper)
    lower(args.idle)

    from kong_plugins.server.config import ServerConfigError
    from kong_plugins.state.base import StoreError

    try:
        build(args.fd, args.file, args.state_dir, args.config)
    except (StoreError, ServerConfigError, ValueError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
