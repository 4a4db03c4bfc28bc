"""One worker process, by its parts."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kong_plugins.identity.trust import Trust
from kong_plugins.server import worker as module
from kong_plugins.server.config import load
from kong_plugins.server.express_lane import ExpressProtocol
from kong_plugins.server.mirror import Mirror
from kong_plugins.server.worker import Worker
from kong_plugins.state.build_image import build_image
from kong_plugins.state.cells import Cells
from kong_plugins.state.image import sealed_memfd
from kong_plugins.state.records import StateDump

ROOT = Path(__file__).parents[3]


def test_a_settled_worker_leaves_the_collector_next_to_nothing_to_look_at() -> None:
    script = """
import gc
from kong_plugins.server import worker
before = len(gc.get_objects())
worker.settle()
print(before, len(gc.get_objects()), gc.isenabled())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, after, is_on = done.stdout.split()
    assert int(before) > 10_000 > 1000 > int(after)
    assert is_on == "True"


def test_a_worker_of_a_newer_version_takes_the_image_of_the_supervisor_of_before(tmp_path: Path) -> None:
    """A reload runs new code under the supervisor that is there; its image came without the node's own changes."""
    ours, theirs = socket.socketpair()
    cells_fd = Cells.create(64)
    cells = Cells.attach(cells_fd)
    with ours, theirs:
        worker = Worker(load(None, {}), tmp_path, theirs, 0.05, cells)
        worker._mirror = Mirror(worker.decider, Trust.empty(), cells)
        for more in ([], [[]]):
            image = sealed_memfd(build_image(StateDump(5, {}, {})))
            worker._handle(["image", 5, [], *more], image)
            assert worker.decider.state is not None
            worker.decider.state = None
    cells.close()
    os.close(cells_fd)


@pytest.mark.parametrize("answered", [True, False])
def test_a_worker_that_ends_answers_what_waits_for_redis_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """For some seconds: what is never answered holds nobody up."""
    monkeypatch.setattr(module, "DRAIN_SECONDS", 5.0 if answered else 0.05)
    cells_fd = Cells.create(64)
    cells = Cells.attach(cells_fd)
    ours, theirs = socket.socketpair()
    kong, served = socket.socketpair()
    with ours, theirs, kong:
        worker = Worker(load(None, {}), tmp_path, theirs, 0.05, cells)
        worker._lost = lambda _lane: None  # type: ignore[method-assign]

        async def run() -> None:
            loop = asyncio.get_running_loop()
            _, protocol = await loop.connect_accepted_socket(
                lambda: ExpressProtocol(worker._express, "express", worker._connections), served
            )
            since = protocol.owe()
            if answered:
                loop.call_later(0.05, lambda: protocol.pay(b"the answer", since))
            await worker._finish()

        asyncio.run(run())
        kong.settimeout(1)
        assert kong.recv(100) == (b"the answer" if answered else b"")
    cells.close()
    os.close(cells_fd)
