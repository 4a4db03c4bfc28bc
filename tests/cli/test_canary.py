"""kgate canary, against a real Redis."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.commands.canary import command
from kong_plugins.state.base import CanaryOverride
from kong_plugins.state.redis import RedisStore


class Kgate:
    """Runs `kgate canary` in a namespace of its own."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url, self.namespace = url, namespace
        self.store = RedisStore(url, namespace)

    def __call__(self, *arguments: str) -> Result:
        options = ["--redis", self.url, "--namespace", self.namespace]
        return CliRunner().invoke(command, [*arguments, *options], env={"USER": "kim"})


@pytest.fixture
def kgate(redis_server: Any, namespace: str) -> Any:
    made = Kgate(redis_server.url, namespace)
    yield made
    made.store.close()


def stored(kgate: Kgate) -> CanaryOverride:
    found = kgate.store.get_canary("v2")
    assert found is not None
    return found


def test_changes_add_up(kgate: Kgate) -> None:
    first = kgate("set", "v2", "--percent", "10")
    assert first.exit_code == 0
    assert first.stdout == "v2: running, 10%, users of the plan, version 1\n"
    kgate("set", "v2", "--users", "kim, https://a|lee,")
    kgate("set", "v2", "--pause")
    found = stored(kgate)
    assert found[:4] == ("v2", 10.0, frozenset({"kim", "https://a|lee"}), True)
    assert (found.version, found.actor) == (3, "kim")
    assert kgate("set", "v2", "--resume").stdout == "v2: running, 10%, 2 pinned users, version 4\n"
    assert kgate("set", "v2", "--users", "").stdout == "v2: running, 10%, 0 pinned users, version 5\n"
    assert kgate("set", "v2", "--reset").stdout == (
        "v2: running, percent of the plan, users of the plan, version 6\n"
    )
    assert stored(kgate)[1:4] == (None, None, False)


def test_list(kgate: Kgate) -> None:
    assert kgate("list").stdout == "no canary is overridden: all follow their plans\n"
    kgate("set", "v2", "--percent", "12.5%", "--pause")
    kgate("set", "a", "--users", "lee,kim")
    lines = kgate("list").stdout.splitlines()
    assert lines[0].startswith("a: running, percent of the plan, 2 pinned users, version 1, 2")
    assert lines[1].startswith("v2: paused, 12.5%, users of the plan, version 1, 2")
    assert lines[1].endswith(" UTC by kim")
    listed = json.loads(kgate("list", "--output", "json").stdout)
    assert [record["name"] for record in listed] == ["a", "v2"]
    assert listed[0]["users"] == ["kim", "lee"]
    assert (listed[1]["percent"], listed[1]["paused"], listed[1]["users"]) == (12.5, True, None)


def test_set_as_json(kgate: Kgate) -> None:
    record = json.loads(kgate("set", "v2", "--percent", "0", "--output", "json").stdout)
    assert record.pop("changed") == stored(kgate).changed > 0
    assert record == {
        "name": "v2", "percent": 0.0, "users": None, "paused": False, "version": 1, "actor": "kim",
    }  # fmt: skip


def test_if_version(kgate: Kgate) -> None:
    assert kgate("set", "v2", "--percent", "1", "--if-version", "0").exit_code == 0
    late = kgate("set", "v2", "--percent", "50", "--if-version", "0")
    assert (late.exit_code, late.stdout) == (1, "")
    assert late.stderr == (
        "Error: canary v2: is at version 1, not 0; look at kgate canary list and try again\n"
    )
    assert stored(kgate).percent == 1
    assert kgate("set", "v2", "--percent", "2", "--if-version", "1").exit_code == 0


def test_two_operators_at_once_lose_nothing(kgate: Kgate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second write between our read and our write is not overwritten: we read again."""
    kgate("set", "v2", "--percent", "1")
    real = RedisStore.get_canary
    raced = threading.Event()

    def get_then_race(store: RedisStore, name: str) -> CanaryOverride | None:
        found = real(store, name)
        if not raced.is_set():
            raced.set()
            kgate("set", "v2", "--pause")
        return found

    monkeypatch.setattr(RedisStore, "get_canary", get_then_race)
    assert kgate("set", "v2", "--percent", "20").exit_code == 0
    monkeypatch.undo()
    found = stored(kgate)
    assert (found.percent, found.paused, found.version) == (20.0, True, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["v2"], "nothing to set: give --percent"),
        (["v2", "--percent", "101"], "--percent '101': write a number from 0 to 100"),
        (["v2", "--percent", "nan"], "--percent 'nan': "),
        (["v2", "--percent", "ten"], "--percent 'ten': "),
        (["v2", "--percent=-1"], "--percent '-1': "),
        (["a b", "--pause"], "name: 'a b' is not"),
        (["v2", "--reset", "--pause"], "--reset goes with no other change"),
        (["v2", "--pause", "--actor", "\x07"], "--actor: "),
    ],
)
def test_bad_input_is_one_line_and_exit_2(kgate: Kgate, arguments: list[str], says: str) -> None:
    result = kgate("set", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: " + says)
    assert result.stderr.count("\n") == 1
    assert kgate.store.version() == 0


def test_redis_away(own_redis: Any) -> None:
    own_redis.kill()
    result = CliRunner().invoke(command, ["set", "v2", "--pause", "--redis", own_redis.url])
    assert result.exit_code == 1
    assert own_redis.url in result.stderr


@pytest.mark.parametrize("name", ["set", "list"])
def test_help_has_examples(name: str) -> None:
    shown = CliRunner().invoke(command, [name, "--help"]).stdout
    assert f"kgate canary {name}" in shown
    assert "Examples:" in shown
