"""What the control state says to lint: overrides and blocks, and when the files were changed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.operate import StoreAt, opened
from decl.lint.view import State
from kong_plugins.state.operations import blocks, canaries
from kong_plugins.state.targets import target_text


def read_state(url: str, namespace: str = "default") -> State:
    """Ask the Redis of the plugin servers. Raises UsageError, FailedError."""
    with opened(StoreAt(url, namespace)) as store:
        overrides = {override.name: override.changed for override in canaries.entries(store)}
        endless = tuple(
            target_text(block.kind, block.value)
            for block in blocks.entries(store, imported=False)
            if block.expires is None
        )
    return State(overrides, _Changed(), endless)


class _Changed(Mapping[str, float]):
    """When each file was changed: by its last commit, else by the file system. Asked for when needed."""

    def __getitem__(self, file: str) -> float:
        path = Path(file)
        try:
            found = subprocess.run(
                ["git", "log", "-1", "--format=%ct", "--", path.name],
                cwd=path.parent,
                capture_output=True,
                text=True,
                timeout=10,
            )
            committed = found.stdout.strip()
            return float(committed) if committed.isdigit() else path.stat().st_mtime
        except (OSError, subprocess.SubprocessError) as error:
            raise KeyError(file) from error

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
