"""Stores for tests: a memory store and a Redis store behave alike, so tests take either."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kong_plugins.state.base import Store
from kong_plugins.state.collections import COLLECTIONS, Collection
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.records import Record
from kong_plugins.state.redis import RedisStore

Make = Callable[..., Store]


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest, namespace: str) -> Iterator[Make]:
    """Makes the store under test; keyword arguments are its caps by collection, and max_events."""
    made: list[Store] = []
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url

    def factory(max_events: int = 1000, **caps: Collection) -> Store:
        options = {"collections": {**COLLECTIONS, **caps}, "max_events": max_events}
        made.append(
            MemoryStore(**options) if request.param == "memory" else RedisStore(url, namespace, **options)
        )
        return made[-1]

    yield factory
    for store in made:
        store.close()


@pytest.fixture
def store(make: Make) -> Store:
    return make()


def record(
    key: str = "ip 203.0.113.7", collection: str = "blocks", expires: float | None = None, **data: object
) -> Record:
    return Record(collection, key, data, 0, "kim", 'scan "login"\u2028é\U0001f600', "cli", 0.0, 0.0, expires)


def plain(found: Record) -> Record:
    """The record without what the store gives."""
    return found._replace(version=0, created=0.0, changed=0.0)
