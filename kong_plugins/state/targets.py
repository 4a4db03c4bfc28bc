"""Blocks as records: what can be blocked, under which key it is stored, what an imported row says.

Targets as an operator writes them: `ADDRESS`, `ADDRESS/BITS`, `user:[ISSUER|]SUBJECT`, `token:[ISSUER|]ID`,
`agent:PART` (a part of the User-Agent, in any case).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kong_plugins.state.addresses import address_number, canonical, number_address, parse_network
from kong_plugins.state.base import Block
from kong_plugins.state.records import Record, Rows, compact

KINDS = ("ip", "cidr", "user", "token", "agent")
_SHORTEST = {4: 8, 6: 16}
"""The shortest prefix that may be blocked: a wider one is a typing error that shuts everybody out."""
_MAX_VALUE = 512
_MAX_AGENT = 200
_MIN_AGENT = 4
_EVERY_BROWSER = "mozilla/5.0 ("


def parse_target(text: str) -> tuple[str, str]:
    """(kind, canonical value) of what an operator wants to block.

    Raises ValueError for anything else, for networks wider than /8 (IPv4) or /16 (IPv6), and for a part of
    a User-Agent that stands in every browser's.
    """
    prefix, colon, value = text.partition(":")
    if colon and prefix in ("user", "token"):
        if not value or len(value) > _MAX_VALUE or not value.isprintable():
            article = "a user" if prefix == "user" else "a token id"
            raise ValueError(f"{text!r}: {article} is 1 to {_MAX_VALUE} printable characters")
        return prefix, value
    if colon and prefix == "agent":
        return prefix, _agent(text, value)
    return parse_network_target(text, _SHORTEST)


def parse_network_target(text: str, shortest: dict[int, int]) -> tuple[str, str]:
    """(kind, canonical value) of an address or network, not wider than `shortest` by IP version."""
    try:
        if "/" not in text:
            # most imported rows: ten times faster than by a network
            return "ip", number_address(*address_number(text))
        network = parse_network(text)
    except ValueError as error:
        raise ValueError(f"{error}" if repr(text) in str(error) else f"{text!r}: {error}") from error
    if network.prefixlen < shortest[network.version]:
        raise ValueError(f"{text!r} is wider than /{shortest[network.version]}: refused")
    kind = "ip" if network.prefixlen == network.max_prefixlen else "cidr"
    return kind, canonical(network)


def _agent(text: str, value: str) -> str:
    lower = value.lower()
    if not _MIN_AGENT <= len(value) <= _MAX_AGENT or not value.isprintable():
        raise ValueError(
            f"{text!r}: a part of a User-Agent is {_MIN_AGENT} to {_MAX_AGENT} printable characters"
        )
    if lower.strip() in _EVERY_BROWSER:
        raise ValueError(f"{text!r} stands in every browser's User-Agent: refused")
    return lower


def target_text(kind: str, value: str) -> str:
    """The target as an operator writes it: `parse_target` gives (kind, value) back."""
    return value if kind in ("ip", "cidr") else f"{kind}:{value}"


def block_key(kind: str, value: str) -> str:
    """A block's key: kind, space, value."""
    return f"{kind} {value}"


def split_key(key: str) -> tuple[str, str]:
    """(kind, value) of a key of `blocks`, `allows` or a row. Raises ValueError when it is not canonical."""
    kind, _, value = key.partition(" ")
    if kind not in KINDS:
        raise ValueError(f"{key!r}: kind {kind!r} is not known")
    if parse_target(target_text(kind, value)) != (kind, value):
        raise ValueError(f"{key!r}: not in canonical form")
    return kind, value


def block_record(block: Block) -> Record:
    """The record that sets the block. The store gives its times and version."""
    return Record(
        "blocks",
        block_key(block.kind, block.value),
        {},
        actor=block.actor,
        reason=block.reason,
        source=block.source,
        expires=block.expires,
    )


def block_of(record: Record) -> Block:
    """The block of a record of `blocks`. Raises ValueError naming it."""
    try:
        kind, value = split_key(record.key)
    except ValueError as error:
        raise ValueError(f"block {error}") from error
    return Block(
        kind,
        value,
        record.reason,
        record.actor,
        record.created,
        record.expires,
        record.source,
        record.version,
    )


def dump_row(reason: str | None = None, expires: float | None = None) -> str:
    """The text of a row: '' when it says nothing that its source does not say."""
    said: dict[str, Any] = {}
    if reason is not None:
        said["reason"] = reason
    if expires is not None:
        said["expires"] = expires
    return compact(said) if said else ""


def row_meta(source: Record, text: str) -> tuple[str, float | None]:
    """(reason, expires) of a row of `source`: its own, else the source's; it never outlives the source.

    Raises ValueError.
    """
    if not text:
        return source.reason, source.expires
    said = json.loads(text)
    reason, expires = str(said.get("reason", source.reason)), said.get("expires")
    ends = [end for end in (source.expires, None if expires is None else float(expires)) if end is not None]
    return reason, min(ends, default=None)


def row_block(source: Record, key: str, text: str) -> Block:
    """The block of one row of an imported set (a record of `sources`). Raises ValueError."""
    kind, value = split_key(key)
    reason, expires = row_meta(source, text)
    return Block(
        kind, value, reason, source.actor, source.changed, expires, source.source or f"import:{source.key}"
    )


def row_blocks(source: Record, rows: Rows) -> Iterator[Block]:
    """The blocks of all rows. Raises ValueError at the first that cannot be read."""
    for key, text in rows.items():
        try:
            yield row_block(source, key, text)
        except (TypeError, ValueError) as error:
            raise ValueError(f"source {source.key}: row {key!r}: {error}") from error
