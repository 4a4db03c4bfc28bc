"""The control state in this process's memory: for one process alone. Nothing outlives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition

from kong_plugins.state.base import (
    MAX_BLOCKS,
    MAX_CANARIES,
    Block,
    CanaryOverride,
    Conflict,
    Snapshot,
    StoreFull,
)
from kong_plugins.state.blocks import is_live
from kong_plugins.state.snapshot import build


class MemoryStore:
    """A `ControlStore` without a server. Safe for several threads.

    clock gives Unix seconds; the caps are for tests.
    """

    address = "memory://"

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        max_blocks: int = MAX_BLOCKS,
        max_canaries: int = MAX_CANARIES,
    ) -> None:
        self._clock = clock
        self._max_blocks = max_blocks
        self._max_canaries = max_canaries
        self._version = 0
        self._blocks: dict[tuple[str, str], Block] = {}
        self._canaries: dict[str, CanaryOverride] = {}
        self._changed = Condition()

    def now(self) -> float:
        return self._clock()

    def version(self) -> int:
        return self._version

    def load_snapshot(self) -> Snapshot:
        with self._changed:
            return build(self._version, self._blocks.values(), self._canaries.values())

    def subscribe(self) -> _MemoryChanges:
        return _MemoryChanges(self)

    def add_block(self, block: Block) -> int:
        with self._changed:
            self._purge()
            key = (block.kind, block.value)
            if key not in self._blocks and len(self._blocks) >= self._max_blocks:
                raise StoreFull(f"{self.address}: holds {self._max_blocks} blocks, no more are allowed")
            self._blocks[key] = block
            return self._change()

    def remove_block(self, kind: str, value: str) -> bool:
        with self._changed:
            self._purge()
            if self._blocks.pop((kind, value), None) is None:
                return False
            self._change()
            return True

    def list_blocks(self) -> list[Block]:
        now = self._clock()
        with self._changed:
            live = [block for block in self._blocks.values() if is_live(block, now)]
        return sorted(live, key=lambda block: (block.kind, block.value))

    def set_canary(self, override: CanaryOverride, if_version: int | None = None) -> CanaryOverride:
        with self._changed:
            old = self._canaries.get(override.name)
            version = 0 if old is None else old.version
            if if_version is not None and if_version != version:
                raise Conflict(f"canary {override.name}: is at version {version}, not {if_version}")
            if old is None and len(self._canaries) >= self._max_canaries:
                raise StoreFull(f"{self.address}: holds {self._max_canaries} canaries, no more are allowed")
            stored = override._replace(version=version + 1)
            self._canaries[override.name] = stored
            self._change()
            return stored

    def get_canary(self, name: str) -> CanaryOverride | None:
        return self._canaries.get(name)

    def list_canaries(self) -> list[CanaryOverride]:
        with self._changed:
            return [self._canaries[name] for name in sorted(self._canaries)]

    def close(self) -> None:
        """Nothing to give back."""

    def _change(self) -> int:
        self._version += 1
        self._changed.notify_all()
        return self._version

    def _purge(self) -> None:
        now = self._clock()
        for key in [key for key, block in self._blocks.items() if not is_live(block, now)]:
            del self._blocks[key]


class _MemoryChanges:
    """Waits for the store's condition."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._seen = store.version()

    def wait(self, timeout: float) -> bool:
        store = self._store
        with store._changed:
            told = store._changed.wait_for(lambda: store.version() != self._seen, timeout)
            self._seen = store.version()
            return told

    def close(self) -> None:
        """Nothing to give back."""
