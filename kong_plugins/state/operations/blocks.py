"""kgate block: add, remove, list; the check of a target is in coverage.py, imports in imports.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kong_plugins.state.base import Block, Conflict, Store, StoreError
from kong_plugins.state.operations import common
from kong_plugins.state.operations.allowed import Allowed
from kong_plugins.state.operations.coverage import Coverage, check
from kong_plugins.state.targets import (
    block_key,
    block_of,
    block_record,
    parse_target,
    row_blocks,
    target_text,
)

__all__ = ["Removal", "add", "check", "entries", "remove"]


class Removal(NamedTuple):
    """block: what was removed. left: what still covers the target (a network, an imported row)."""

    block: Block
    left: Coverage


def add(
    store: Store,
    target: str,
    *,
    actor: str,
    reason: str = "",
    ttl: float | None = None,
    if_absent: bool = False,
    source: str = "cli",
    dry_run: bool = False,
) -> Block:
    """Block a target (`parse_target`), or renew its block. With `if_absent` a block that is there stays as it
    is and is returned: the gateway's own blocks do not shorten an operator's.

    Raises Refused when the target touches an allow, and what the package says.
    """
    kind, value = parse_target(target)
    common.check_notes(actor, reason)
    block = Block(kind, value, reason, actor, 0.0, common.end(store, "blocks", ttl), source)
    allow = Allowed.of(store).touching(kind, value)
    if allow is not None:
        raise common.Refused(
            f"{target_text(kind, value)} touches the allow {target_text(allow.kind, allow.value)}: "
            "remove that first, or block less"
        )
    if dry_run:
        return block._replace(created=store.now())
    key = block_key(kind, value)
    if if_absent:
        current = store.get("blocks", key)
        if current is not None:
            return block_of(current)
    try:
        stored = common.put(
            store,
            "block.add",
            lambda _: block_record(block),
            "blocks",
            key,
            if_version=0 if if_absent else None,
        )
    except Conflict as error:
        if error.current is None:
            raise
        return block_of(error.current)
    return block_of(stored)


def remove(store: Store, target: str, *, actor: str, reason: str = "") -> Removal:
    """Lift the block of a target. Raises NotFound, which names what covers it in its place, if anything."""
    kind, value = parse_target(target)
    removed = common.remove(
        store, "block.remove", "blocks", block_key(kind, value), actor=actor, reason=reason
    )
    left = check(store, target)
    if removed is None:
        text = target_text(kind, value)
        if left.block is None:
            raise common.NotFound(f"{text} has no block; see kgate block list")
        cover = target_text(left.block.kind, left.block.value)
        if left.block.source.startswith("import:"):
            cover += f" of {left.block.source}"
        raise common.NotFound(f"{text} has no block of its own; it is covered by {cover}")
    return Removal(block_of(removed), left)


def entries(store: Store, imported: bool = True) -> Iterator[Block]:
    """The live blocks: the operators' by key, then with `imported` the rows of each source.

    Raises StoreError, for what cannot be read too.
    """
    now = store.now()
    try:
        yield from map(block_of, store.records("blocks"))
        for name in [source.key for source in store.records("sources")] if imported else ():
            found = common.with_rows(store, "sources", name)
            for block in () if found is None else row_blocks(*found):
                if block.expires is None or now < block.expires:
                    yield block
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
