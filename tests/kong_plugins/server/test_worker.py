"""One worker process, by its parts."""

import subprocess
import sys
from pathlib import Path

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
