"""The blocks of a snapshot as an index: which block covers an address or a user."""

from __future__ import annotations

from collections.abc import Iterable

from kong_plugins.state.addresses import AddressIndex, canonical, parse_address, parse_network
from kong_plugins.state.base import Block

_SHORTEST = {4: 8, 6: 16}
"""The shortest prefix that may be blocked: a wider one is a typing error that shuts everybody out."""
_USER = "user:"
_MAX_VALUE = 512


def is_live(block: Block, now: float) -> bool:
    """Whether the block counts at `now` (Unix seconds). It ends at the very second of `expires`."""
    return block.expires is None or now < block.expires


def parse_target(text: str) -> tuple[str, str]:
    """(kind, canonical value) of what an operator wants to block.

    `ADDRESS`, `ADDRESS/BITS`, or `user:SUBJECT`, `user:ISSUER|SUBJECT`. Raises ValueError for anything else
    and for networks wider than /8 (IPv4) or /16 (IPv6).
    """
    if text.startswith(_USER):
        value = text.removeprefix(_USER)
        if not value or len(value) > _MAX_VALUE or not value.isprintable():
            raise ValueError(f"{text!r}: a user is 1 to {_MAX_VALUE} printable characters")
        return "user", value
    try:
        network = parse_network(text)
    except ValueError as error:
        raise ValueError(f"{error}" if repr(text) in str(error) else f"{text!r}: {error}") from error
    if network.prefixlen < _SHORTEST[network.version]:
        raise ValueError(f"{text!r} is wider than /{_SHORTEST[network.version]}: refused")
    kind = "ip" if network.prefixlen == network.max_prefixlen else "cidr"
    return kind, canonical(network)


class Blocks:
    """An index over blocks; the `BlockIndex` of a snapshot.

    A lookup costs one dict lookup for each prefix length in use, whatever the number of blocks. Expiry is
    judged at the lookup: a block ends in time even when no new snapshot comes.
    """

    __slots__ = ("_networks", "_size", "_users")

    def __init__(self, blocks: Iterable[Block]) -> None:
        kept = tuple(blocks)
        self._networks = AddressIndex(
            (parse_network(block.value), block) for block in kept if block.kind in ("ip", "cidr")
        )
        self._users = {block.value: block for block in kept if block.kind == "user"}
        self._size = len(kept)

    def match(self, ip: str, now: float) -> Block | None:
        """The most specific live block of the address, if any. An unreadable address has none."""
        try:
            address = parse_address(ip)
        except ValueError:
            return None
        for block in self._networks.covering(address):
            if is_live(block, now):
                return block
        return None

    def match_user(self, issuer: str, subject: str, now: float) -> Block | None:
        """The live block of a verified user, by "issuer|subject" or by the subject alone."""
        if not self._users:
            return None
        for value in (f"{issuer}|{subject}", subject):
            block = self._users.get(value)
            if block is not None and is_live(block, now):
                return block
        return None

    def __len__(self) -> int:
        return self._size
