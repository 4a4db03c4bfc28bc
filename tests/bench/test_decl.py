"""bench.decl on a few entities: what it says of a sync is the command's, and a given Kong is as empty afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import decl
from decl.admin import AdminClient
from tests.decl.db_node import DbNode, db_node


@pytest.fixture(scope="module")
def kong() -> Iterator[DbNode]:
    with db_node() as node:
        yield node


def test_a_given_kong_is_empty_again(kong: DbNode) -> None:
    found = decl.writes(80, kong.admin, 2)
    assert found["changes"] == 40
    assert found["ratio_of_rounds_least"] <= found["ratio_of_rounds_median"] <= found["ratio_of_rounds_most"]
    assert decl.database(80, kong.admin, 2)["diff_seconds"] > 0
    assert not any(kong.state().values())


def test_one_that_is_in_use_is_not_touched(kong: DbNode) -> None:
    with AdminClient(kong.admin) as client:
        made = client.send("POST", "/services", {"url": "http://theirs"})
        with pytest.raises(SystemExit, match="there are entities"):
            decl.writes(80, kong.admin, 1)
        assert list(kong.state()["services"]) == [made["id"]]
        client.send("DELETE", f"/services/{made['id']}")


def test_a_sync_that_changes_nothing() -> None:
    found = decl.dbless(80)
    assert 0 < found["noop_seconds"] < found["noop_command_seconds"]
