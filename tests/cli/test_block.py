"""kgate block, against a real Redis."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.commands.block import command
from kong_plugins.state.base import Block
from kong_plugins.state.follower import Follower
from kong_plugins.state.redis import RedisStore


class Kgate:
    """Runs `kgate block` in a namespace of its own."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url, self.namespace = url, namespace
        self.store = RedisStore(url, namespace)

    def __call__(self, *arguments: str, **env: str) -> Result:
        options = ["--redis", self.url, "--namespace", self.namespace]
        return CliRunner().invoke(command, [*arguments, *options], env={"USER": "kim", **env})


@pytest.fixture
def kgate(redis_server: Any, namespace: str) -> Any:
    made = Kgate(redis_server.url, namespace)
    yield made
    made.store.close()


def test_add_list_and_remove(kgate: Kgate) -> None:
    added = kgate("add", "::ffff:203.0.113.7", "--ttl", "10m", "--reason", "scans")
    assert (added.exit_code, added.stderr) == (0, "")
    assert added.stdout.startswith("blocked 203.0.113.7 until 2")
    (block,) = kgate.store.list_blocks()
    assert block[:4] == ("ip", "203.0.113.7", "scans", "kim")
    assert block.expires == pytest.approx(block.created + 600)
    assert abs(block.created - time.time()) < 60

    listed = kgate("list")
    assert listed.stdout.startswith("203.0.113.7  until ")
    assert listed.stdout.endswith("by kim  scans\n")

    removed = kgate("rm", "203.0.113.7")
    assert (removed.exit_code, removed.stdout) == (0, "unblocked 203.0.113.7\n")
    assert kgate.store.list_blocks() == []
    assert kgate("list").stdout == "nothing is blocked\n"


@pytest.mark.parametrize(
    ("target", "kind", "value"),
    [
        ("203.0.113.0/24", "cidr", "203.0.113.0/24"),
        ("2001:DB8::/32", "cidr", "2001:db8::/32"),
        ("user:https://a|lee", "user", "https://a|lee"),
    ],
)
def test_json(kgate: Kgate, target: str, kind: str, value: str) -> None:
    added = json.loads(kgate("add", target, "--actor", "lee", "--output", "json").stdout)
    assert added.pop("version") == kgate.store.version()
    created = added.pop("created")
    assert added == {"kind": kind, "value": value, "reason": "", "actor": "lee", "expires": None}
    assert json.loads(kgate("list", "--output", "json").stdout) == [{**added, "created": created}]
    removed = json.loads(kgate("rm", target, "--output", "json").stdout)
    assert removed == {"kind": kind, "value": value, "removed": True, "covered_by": ""}


@pytest.mark.parametrize(
    ("ttl", "seconds"), [("1s", 1), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400)]
)
def test_ttl(kgate: Kgate, ttl: str, seconds: int) -> None:
    kgate("add", "203.0.113.7", "--ttl", ttl)
    (block,) = kgate.store.list_blocks()
    assert block.expires == pytest.approx(block.created + seconds)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["203.0.113.300"], "'203.0.113.300' does not appear to be an IPv4 or IPv6 address"),
        (["203.0.113.1/24"], "'203.0.113.1/24' has bits set after the prefix: write 203.0.113.0/24"),
        (["203.0.113.0/33"], "'203.0.113.0/33' is not ADDRESS/BITS with 0 to 32 bits"),
        (["0.0.0.0/0"], "'0.0.0.0/0' is wider than /8: refused"),
        (["::/15"], "'::/15' is wider than /16: refused"),
        (["203.0.113.7", "--ttl", "10"], "--ttl '10': write a number and s, m, h or d, like 10m"),
        (["203.0.113.7", "--ttl", "0s"], "--ttl '0s': "),
        (["203.0.113.7", "--ttl", "-5m"], "--ttl '-5m': "),
        (["203.0.113.7", "--ttl", "soon"], "--ttl 'soon': "),
        (["203.0.113.7", "--ttl", "3651d"], "--ttl '3651d': "),
        (["203.0.113.7", "--ttl", "٣m"], "--ttl '٣m': "),
        (["203.0.113.7", "--reason", "a\x1b[2J"], "--reason: at most 200 printable characters"),
        (["203.0.113.7", "--actor", "a\nb"], "--actor: "),
        (["user:"], "'user:': a user is 1 to 512 printable characters"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(kgate: Kgate, arguments: list[str], says: str) -> None:
    result = kgate("add", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: " + says)
    assert result.stderr.count("\n") == 1
    assert kgate.store.version() == 0


@pytest.mark.parametrize("arguments", [["add", "203.0.113.7"], ["rm", "203.0.113.7"], ["list"]])
def test_redis_away_is_one_line_with_the_address_and_exit_1(arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started = time.monotonic()
    url = f"redis://:secret@127.0.0.1:{port}/0"
    result = CliRunner().invoke(command, arguments, env={"REDIS_URL": url})
    assert time.monotonic() - started < 2
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"redis://127.0.0.1:{port}/0" in result.stderr
    assert "--redis" in result.stderr
    assert "secret" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_redis_that_hangs_ends_within_two_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        started = time.monotonic()
        result = CliRunner().invoke(command, ["add", "203.0.113.7", "--redis", address])
        assert time.monotonic() - started < 2
    assert result.exit_code == 1
    assert address in result.stderr


@pytest.mark.parametrize(
    "options", [["--redis", "http://localhost"], ["--namespace", "a b"], ["--redis", "127.0.0.1:6379"]]
)
def test_wrong_url_or_namespace_is_wrong_usage(options: list[str]) -> None:
    result = CliRunner().invoke(command, ["list", *options])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_removing_what_is_not_there(kgate: Kgate) -> None:
    result = kgate("rm", "203.0.113.7")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: 203.0.113.7 has no block of its own; see kgate block list\n",
    )


def test_a_network_that_still_covers_the_address_is_named(kgate: Kgate) -> None:
    kgate("add", "203.0.113.0/24")
    kgate("add", "203.0.113.7")
    assert kgate("rm", "203.0.113.7").stdout == (
        "unblocked 203.0.113.7, but it is still covered by 203.0.113.0/24\n"
    )
    again = kgate("rm", "203.0.113.7")
    assert again.exit_code == 1
    assert "covered by 203.0.113.0/24: kgate block rm 203.0.113.0/24" in again.stderr


def test_a_list_cannot_steer_the_terminal(kgate: Kgate) -> None:
    kgate.store.add_block(Block("user", "a\x1b[31m", "b\r", "c\n", 0.0))
    assert kgate("list").stdout == "user:a?[31m  without end  by c?  b?\n"


def test_a_block_reaches_a_follower_well_within_a_second(kgate: Kgate) -> None:
    follower = Follower(kgate.store, lambda snapshot: None)
    follower.start()
    try:
        kgate("add", "203.0.113.7")
        deadline = time.monotonic() + 0.9
        while follower.snapshot.blocks.match("203.0.113.7", time.time()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        follower.stop()


@pytest.mark.parametrize("name", ["add", "rm", "list"])
def test_help_has_examples(name: str) -> None:
    shown = CliRunner().invoke(command, [name, "--help"]).stdout
    assert f"kgate block {name}" in shown
    assert "Examples:" in shown
