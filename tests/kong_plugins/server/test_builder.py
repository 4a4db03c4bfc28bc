"""Images that are built in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kong_plugins.server.builder import build_apart
from kong_plugins.server.building import NICE
from kong_plugins.state.files import StateFiles, make_state_dir, state_key
from kong_plugins.state.image import Image, StateFileError
from kong_plugins.state.operations import blocks
from kong_plugins.state.redis import RedisStore
from kong_plugins.state.snapshot import snapshot_of
from tests.kong_plugins.server.running import running, wait_until


@pytest.mark.timeout(
    180
)  # on a busy machine its first try, which leaves all of it to others, may get nothing
def test_a_builder_reads_redis_and_fills_sealed_memory(own_redis: Any, tmp_path: Path) -> None:
    store = RedisStore(own_redis.url)
    blocks.add(store, "203.0.113.7", actor="kim")
    config, folder = tmp_path / "server.yaml", tmp_path / "state"
    config.write_text(f"redis: {{url: '{own_redis.url}'}}\n")
    make_state_dir(folder)
    key = state_key(folder, None, tmp_path)
    build = build_apart(config, folder, "default")
    built = build()
    try:
        Image.open(built.fd, key, "default")
        assert built.file is not None
        assert built.file.read_bytes() == os.pread(built.fd, built.image.size + 1, 0)
        assert built.file.stat().st_mode & 0o777 == 0o600
        StateFiles(folder, "default", key).take_image(built.file, built.fd)
        assert sorted(path.name for path in folder.iterdir()) == ["snapshot", "state.key"]
        snapshot = snapshot_of(built.image)
        assert snapshot.version == store.version()
        assert snapshot.blocks.match("203.0.113.7", 0.0) is not None
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(built.fd, b"x", 0)
    finally:
        os.close(built.fd)
        store.close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    own_redis.kill()
    with pytest.raises(StateFileError, match=r"the builder ended with 1: redis://127\.0\.0\.1"):
        build()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert sorted(path.name for path in folder.iterdir()) == ["snapshot", "state.key"]


def test_a_builder_that_gets_no_time_is_tried_again_as_a_nice_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try leaves all of the processor to others: on a busy machine it may get nothing."""
    tried: list[list[str]] = []

    def run(command: list[str], **options: Any) -> Any:
        tried.append([str(options["timeout"]), *command[-1:]])
        file = Path(command[command.index("--file") + 1])
        file.with_name(f".{file.name}.1.2").write_bytes(b"half of it")
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr("kong_plugins.server.builder.subprocess.run", run)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(StateFileError, match="given up after 120 s"):
        build_apart(None, tmp_path, "default")()
    assert tried == [["12.0", "--idle"], ["120.0", str(tmp_path)]]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_the_keeper() -> None:
    """A keeper that is killed must not leave one behind that reads the whole store for nobody."""
    child = (
        "import sys, time; from kong_plugins.server.building import end_with; "
        "end_with(int(sys.argv[1]), 0.01); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())]); "
        "print(child.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as keeper:
        assert keeper.stdout is not None
        pid = int(keeper.stdout.readline())
        assert running(pid)
        keeper.kill()
    wait_until(lambda: not running(pid), 5)


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="of Linux")
@pytest.mark.parametrize("idle", [True, False])
def test_it_leaves_the_processor_to_others(idle: bool) -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from kong_plugins.server.building import lower; lower({idle}); import os, sys; "
            "print(os.sched_getscheduler(0), os.nice(0), 'msgpack' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    nice = min(19, os.nice(0) + NICE)
    assert said == [str(os.SCHED_IDLE if idle else os.SCHED_OTHER), str(nice), "False"]
