"""Blocks or allows as filters ask for them: an image's targets with the changes since."""

from __future__ import annotations

from kong_plugins.state.addresses import address_halves
from kong_plugins.state.agents import agent_pattern
from kong_plugins.state.base import Block
from kong_plugins.state.target_overlay import TargetOverlay
from kong_plugins.state.target_table import TargetTable


def is_live(block: Block, now: float) -> bool:
    """Whether the block counts at `now` (Unix seconds). It ends at the very second of `expires`."""
    return block.expires is None or now < block.expires


class TargetView:
    """Which target covers an address, a user, a token or a user agent.

    The narrowest one that has not ended counts; where one has ended, the next wider one does. Expiry is
    judged at the look-up: a target ends in time even when no new snapshot comes.
    """

    __slots__ = (
        "_agents",
        "_find",
        "_first_end",
        "_has_networks",
        "_overlay",
        "_pattern",
        "_table",
        "_texts",
    )

    def __init__(self, table: TargetTable, overlay: TargetOverlay | None = None) -> None:
        if overlay is not None and overlay.is_empty:
            overlay = None  # only other collections have changed
        self._table = table
        self._overlay = overlay
        # at hand for `holds`, which every request asks
        self._find, self._first_end = table.networks.find, table.first_end
        self._has_networks = bool(len(table.networks)) or (
            overlay is not None and any(overlay.networks.values())
        )
        agents = {part for part, _ in table.agents}
        self._agents = agents if overlay is None else agents | set(overlay.texts["agent"])
        self._pattern = agent_pattern(frozenset(agents))
        self._texts = {
            kind: bool(len(table.texts[kind]) or (overlay is not None and overlay.texts[kind]))
            for kind in ("user", "token")
        }

    def holds(self, ip: str, now: float) -> bool:
        """Whether a live target holds the address: `match`, without saying which."""
        if not self._has_networks:
            return False
        overlay = self._overlay
        try:
            entry = self._find(ip)
            all_count = now < self._first_end and (overlay is None or not overlay.hides)
            if all_count and (entry >= 0 or overlay is None):
                return entry >= 0
            if overlay is not None:
                version, high, low = address_halves(ip)
                if overlay.holds(version, high << 64 | low if high else low, now):
                    return True
        except ValueError:
            return False
        table = self._table
        networks = table.networks
        while entry >= 0:
            if now < table.expires[networks.terms[entry]] and (overlay is None or overlay.shows_entry(entry)):
                return True
            entry = networks.parents[entry]
        return False

    def match(self, ip: str, now: float) -> Block | None:
        """The narrowest live target of the address, if any. An unreadable address has none."""
        try:
            version, high, low = address_halves(ip)
        except ValueError:
            return None
        if self._overlay is not None:
            return self._match_both(version, high << 64 | low, now, self._overlay)
        entry = self._live_entry(version, high, low, now)
        return None if entry < 0 else self._table.network_block(version, high << 64 | low, entry)

    def _live_entry(self, version: int, high: int, low: int, now: float) -> int:
        """The narrowest live entry of the image, -1 for none."""
        table = self._table
        networks = table.networks
        entry = networks.narrowest(version, high, low)
        while entry >= 0 and now >= table.expires[networks.terms[entry]]:
            entry = networks.parents[entry]
        return entry

    def _match_both(self, version: int, number: int, now: float, overlay: TargetOverlay) -> Block | None:
        table = self._table
        newer_bits, newer_origin, newer = next(
            (found for found in overlay.covering(version, number) if is_live(found[2], now)), (-1, "", None)
        )
        for bits, entry in table.covering(version, number):
            # of the same network, one that stands by itself comes before one of an imported set
            if bits < newer_bits or (bits == newer_bits and not newer_origin):
                break
            term = table.networks.terms[entry]
            if now < table.expires[term]:
                block, origin = table.network_block(version, number, entry), table.meta(term).origin
                if bits == newer_bits and origin:
                    break
                if not overlay.hides or overlay.shows(origin, f"{block.kind} {block.value}"):
                    return block
        return newer

    def has_kind(self, kind: str) -> bool:
        """Whether there is a target of kind "user" or "token" at all, ended or not."""
        return self._texts[kind]

    def match_user(self, issuer: str, subject: str, now: float) -> Block | None:
        """The live target of a verified user, by "issuer|subject" or by the subject alone."""
        return self._match_text("user", issuer, subject, now) if self._texts["user"] else None

    def match_token(self, issuer: str, token_id: str, now: float) -> Block | None:
        """The live target of a verified token, by "issuer|id" or by its id (`jti`) alone."""
        return self._match_text("token", issuer, token_id, now) if self._texts["token"] else None

    def match_agent(self, user_agent: str, now: float) -> Block | None:
        """A live target whose text is a part of the User-Agent, in any case."""
        if not self._agents:
            return None
        text = user_agent.lower()
        overlay = self._overlay
        if overlay is not None:
            for part, held in overlay.texts["agent"].items():
                if part in text:
                    for _, block in held:
                        if is_live(block, now):
                            return block
        if self._pattern is None or self._pattern.search(text) is None:
            return None
        table = self._table
        for part, term in table.agents:
            if (
                part in text
                and now < table.expires[term]
                and (overlay is None or overlay.shows(table.meta(term).origin, f"agent {part}"))
            ):
                return table.block("agent", part, term)
        return None

    def _match_text(self, kind: str, issuer: str, text: str, now: float) -> Block | None:
        table, overlay = self._table, self._overlay
        rows = table.texts[kind]
        for value in (f"{issuer}|{text}", text):
            if overlay is not None:
                for _, block in overlay.texts[kind].get(value, ()):
                    if is_live(block, now):
                        return block
            if not len(rows):
                continue
            for row in rows.rows(table.hashed(value)):
                term = rows.terms[row]
                if now < table.expires[term] and (
                    overlay is None or overlay.shows(table.meta(term).origin, f"{kind} {value}")
                ):
                    return table.block(kind, value, term)
        return None

    def __len__(self) -> int:
        """How many targets there are, ended ones that nobody has taken away yet included."""
        overlay = self._overlay
        return len(self._table) + (0 if overlay is None else overlay.count - overlay.hidden_count)
