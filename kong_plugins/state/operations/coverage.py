"""kgate block check: which allow and which blocks cover a target, asked of the store and not of a snapshot."""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.state.addresses import Network, canonical, parse_network
from kong_plugins.state.allows import Allow, allow_of
from kong_plugins.state.base import Block, RowsGone, Store, StoreError
from kong_plugins.state.blocks import is_live
from kong_plugins.state.targets import block_key, block_of, row_block

_TRIES = 5


class Coverage(NamedTuple):
    """allow: what lifts the blocks, if anything. blocks: all that cover the target, the deciding one first."""

    kind: str
    value: str
    allow: Allow | None
    blocks: tuple[Block, ...]

    @property
    def block(self) -> Block | None:
        """The most specific block, whether an allow lifts it or not."""
        return self.blocks[0] if self.blocks else None

    @property
    def refused(self) -> bool:
        """Whether abuse-guard refuses the target."""
        return bool(self.blocks) and self.allow is None


def check(store: Store, target: str) -> Coverage:
    """What covers an address, network, user, token id or a whole User-Agent (agent:TEXT).

    Costs a few look-ups in the store however many blocks there are, but for agents, where all are read.
    Raises ValueError and StoreError.
    """
    kind, value = parse_question(target)
    for left in reversed(range(_TRIES)):
        try:
            return _check(store, kind, value)
        except RowsGone:
            # a set was replaced while it was asked
            if not left:
                raise
    raise AssertionError("unreachable")


def _check(store: Store, kind: str, value: str) -> Coverage:
    now = store.now()
    try:
        if kind == "agent":
            agent_blocks = _agent_blocks(store, value)
            live = [block for block in agent_blocks if is_live(block, now)]
            return Coverage(kind, value, None, tuple(live))
        keys = _covering_keys(kind, value)
        allows = [allow_of(record) for record in store.find("allows", keys)]
        blocks = [block_of(record) for record in store.find("blocks", keys)]
        for source in store.records("sources"):
            rows = store.find_rows(str(source.data["bulk"]), keys)
            blocks += [row_block(source, key, text) for key, text in rows.items()]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
    order = {key: n for n, key in enumerate(keys)}
    live = [block for block in blocks if is_live(block, now)]
    live.sort(key=lambda block: order[block_key(block.kind, block.value)])
    return Coverage(kind, value, allows[0] if allows else None, tuple(live))


def parse_question(text: str) -> tuple[str, str]:
    """(kind, canonical value) of what is asked about; wider networks and shorter agents than can be blocked are
    fine. Raises ValueError."""
    prefix, colon, value = text.partition(":")
    if colon and prefix in ("user", "token", "agent"):
        if not value or not value.isprintable():
            raise ValueError(f"{text!r}: {prefix} is printable characters")
        return prefix, value.lower() if prefix == "agent" else value
    try:
        network = parse_network(text)
    except ValueError as error:
        raise ValueError(f"{error}" if repr(text) in str(error) else f"{text!r}: {error}") from error
    return ("ip" if network.prefixlen == network.max_prefixlen else "cidr"), canonical(network)


def _covering_keys(kind: str, value: str) -> list[str]:
    """The keys of all records that would cover (kind, value), the most specific first."""
    if kind in ("user", "token"):
        alone = value.partition("|")[2]
        return [block_key(kind, text) for text in ((value, alone) if alone else (value,))]
    network: Network = parse_network(value)
    found = [block_key(kind, value)]
    for length in reversed(range(network.prefixlen)):
        found.append(block_key("cidr", str(network.supernet(new_prefix=length))))
    return found


def _agent_blocks(store: Store, agent: str) -> list[Block]:
    found = [
        block_of(record)
        for record in store.records("blocks")
        if record.key.startswith("agent ") and record.key.removeprefix("agent ") in agent
    ]
    for source in store.records("sources"):
        for key, text in store.rows(str(source.data["bulk"])).items():
            if key.startswith("agent ") and key.removeprefix("agent ") in agent:
                found.append(row_block(source, key, text))
    return found
