"""Snapshots: the control state at one version, built from the stores' records."""

from __future__ import annotations

from collections.abc import Iterable

from kong_plugins.state.base import Block, CanaryOverride, Snapshot
from kong_plugins.state.blocks import Blocks


def build(version: int, blocks: Iterable[Block], canaries: Iterable[CanaryOverride]) -> Snapshot:
    """The snapshot of these records. Raises ValueError when a block's value is not an address."""
    return Snapshot(version, Blocks(blocks), {canary.name: canary for canary in canaries})


def empty_snapshot() -> Snapshot:
    """The state before anything was set: nothing is blocked, the canaries follow their plans."""
    return build(0, (), ())
