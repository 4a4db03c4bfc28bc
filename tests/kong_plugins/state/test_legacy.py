"""The calls from before records, on both stores."""

from __future__ import annotations

import pytest

from kong_plugins.state.base import Block, CanaryOverride, Conflict, ControlStore
from kong_plugins.state.operations import imports
from tests.kong_plugins.state.stores import make, store

__all__ = ["make", "store"]


def test_blocks(store: ControlStore) -> None:
    given = Block("user", "https://a|kim é", "why", "kim", 0.0)
    version = store.add_block(given)
    assert version == store.version()
    (found,) = store.list_blocks()
    assert found._replace(created=0.0) == given
    imports.import_blocks(store, "feed", ["203.0.113.0/24"], actor="kim")
    snapshot = store.load_snapshot()
    assert snapshot.version == store.version()
    assert snapshot.blocks.match_user("https://a", "kim é", store.now()) is not None
    assert snapshot.blocks.match("203.0.113.9", store.now()) is not None
    assert store.remove_block("user", "https://a|kim é") is True
    assert store.remove_block("user", "https://a|kim é") is False


def test_canaries(store: ControlStore) -> None:
    assert store.get_canary("c") is None
    given = CanaryOverride("c", percent=33.33, users=frozenset({"a", "i|é"}), paused=True, actor="kim")
    assert store.set_canary(given, if_version=0).version == 1
    assert store.set_canary(given).version == 2
    with pytest.raises(Conflict, match="canary c: is at version 2, not 1"):
        store.set_canary(given, if_version=1)
    (found,) = store.list_canaries()
    assert found == store.get_canary("c") == store.load_snapshot().canaries["c"]
    assert found._replace(changed=0.0) == given._replace(version=2)
