"""`kgate block import` that is killed on its way: the old set or the new one, and nothing in between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from kong_plugins.state.snapshot import snapshot_of_dump

ROWS = 50_000


@pytest.mark.timeout(120)
def test_an_import_that_is_killed_leaves_the_old_set_or_the_new_one(kgate: Any, tmp_path: Path) -> None:
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("203.0.113.1\n203.0.113.2\n")
    new.write_text("".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(ROWS)))
    env = {**os.environ, "REDIS_URL": kgate.url, "KGATE_NAMESPACE": kgate.namespace, "USER": "kim"}
    ends = []
    with redis.Redis.from_url(kgate.url) as client:
        for later in (0.0, 0.05, 0.1, 0.2):
            kgate.ok("block", "import", str(old), "--name", "feed")
            version, keys = kgate.store.version(), client.dbsize()
            process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "block", "import", str(new), "--name", "feed"],
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while process.poll() is None and client.dbsize() == keys:
                time.sleep(0.001)  # until its first rows are there
            time.sleep(later)
            process.kill()
            process.wait()
            held = snapshot_of_dump(kgate.store.load()).blocks
            is_new = kgate.store.version() != version
            assert len(held) == (ROWS if is_new else 2)
            assert is_new or process.returncode != 0
            ends.append(is_new)
    assert not all(ends), "at least one was killed before its end"
