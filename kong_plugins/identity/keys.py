"""Keys of all issuers as one snapshot, swapped whole when any of them changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from kong_plugins.identity.fetcher import JwksFetcher
from kong_plugins.identity.issuers import Issuer
from kong_plugins.identity.jwks import KeySet


class KeySnapshot(NamedTuple):
    """Keys by issuer name. `generation` grows with every change: answers of an earlier one are void."""

    generation: int
    sets: Mapping[str, KeySet]


class KeySource(Protocol):
    """Where Trust gets keys from."""

    def snapshot(self) -> KeySnapshot:
        """The keys of now; must not block."""
        ...

    def want(self, issuer: str, kid: str) -> None:
        """A token named an unknown key; must not block."""
        ...

    def is_stale(self, issuer: str) -> bool:
        """Whether the issuer should have confirmed its keys again and has not."""
        ...

    def fetched(self, issuer: str, now: float) -> tuple[float, int, int]:
        """Seconds since the issuer confirmed its keys (-1: they are not fetched, or never were), and fetches that
        went well and that failed since the last call."""
        ...

    def start(self) -> None:
        """Begin background work."""
        ...

    def stop(self) -> None:
        """End background work."""
        ...


class StaticKeys:
    """Keys that never change."""

    def __init__(self, sets: Mapping[str, KeySet]) -> None:
        self._snapshot = KeySnapshot(1, sets)

    def snapshot(self) -> KeySnapshot:
        """See KeySource."""
        return self._snapshot

    def want(self, issuer: str, kid: str) -> None:
        """See KeySource."""

    def is_stale(self, issuer: str) -> bool:
        """See KeySource."""
        return False

    def fetched(self, issuer: str, now: float) -> tuple[float, int, int]:
        """See KeySource."""
        return -1.0, 0, 0

    def start(self) -> None:
        """See KeySource."""

    def stop(self) -> None:
        """See KeySource."""


class WithKeys:
    """Keys of another source, and some of one's own that never change."""

    def __init__(self, source: KeySource, own: Mapping[str, KeySet]) -> None:
        self._source = source
        self._own = own
        self._seen = source.snapshot()
        self._snapshot = KeySnapshot(self._seen.generation, {**self._seen.sets, **own})

    def snapshot(self) -> KeySnapshot:
        """See KeySource."""
        seen = self._source.snapshot()
        if seen is not self._seen:
            self._seen, self._snapshot = seen, KeySnapshot(seen.generation, {**seen.sets, **self._own})
        return self._snapshot

    def want(self, issuer: str, kid: str) -> None:
        """See KeySource."""
        if issuer not in self._own:
            self._source.want(issuer, kid)

    def is_stale(self, issuer: str) -> bool:
        """See KeySource."""
        return issuer not in self._own and self._source.is_stale(issuer)

    def fetched(self, issuer: str, now: float) -> tuple[float, int, int]:
        """See KeySource."""
        return (-1.0, 0, 0) if issuer in self._own else self._source.fetched(issuer, now)

    def start(self) -> None:
        """See KeySource."""

    def stop(self) -> None:
        """See KeySource."""


class LiveKeys:
    """The keys from the config, and one fetcher for each issuer with a `jwks_url`.

    With cache_dir, keys of an earlier run are there at once.
    """

    def __init__(self, issuers: Mapping[str, Issuer], *, cache_dir: Path | None = None) -> None:
        sets = {name: issuer.keys for name, issuer in issuers.items() if issuer.keys is not None}
        self._snapshot = KeySnapshot(1, sets)
        self._lock = threading.Lock()
        self.fetchers = {
            name: JwksFetcher(issuer, self._publish, cache_dir=cache_dir)
            for name, issuer in issuers.items()
            if issuer.jwks_url
        }
        for fetcher in self.fetchers.values():
            fetcher.restore()

    def _publish(self, name: str, keys: KeySet | None) -> None:
        with self._lock:
            generation, sets = self._snapshot
            others = {each: known for each, known in sets.items() if each != name}
            self._snapshot = KeySnapshot(generation + 1, others if keys is None else {**others, name: keys})

    def snapshot(self) -> KeySnapshot:
        """See KeySource."""
        return self._snapshot

    def want(self, issuer: str, kid: str) -> None:
        """See KeySource."""
        fetcher = self.fetchers.get(issuer)
        if fetcher is not None:
            fetcher.want(kid)

    def is_stale(self, issuer: str) -> bool:
        """See KeySource."""
        fetcher = self.fetchers.get(issuer)
        return fetcher is not None and fetcher.is_stale

    def fetched(self, issuer: str, now: float) -> tuple[float, int, int]:
        """See KeySource."""
        fetcher = self.fetchers.get(issuer)
        return (-1.0, 0, 0) if fetcher is None else fetcher.take_counts(now)

    def start(self) -> None:
        """See KeySource."""
        for fetcher in self.fetchers.values():
            fetcher.start()

    def stop(self) -> None:
        """See KeySource."""
        for fetcher in self.fetchers.values():
            fetcher.stop()
