"""kgate allow, fallback, breaker, limits, list and events, against a real Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from kong_plugins.state.cells import Cells
from kong_plugins.state.connection import key_prefix
from kong_plugins.state.limit_board import Board
from kong_plugins.state.operations import live
from tests.cli.conftest import Operator


@pytest.mark.parametrize(
    ("arguments", "said", "kind", "subject", "fields"),
    [
        (["allow", "add", "198.51.100.0/24", "--ttl", "1h"], "allowed 198.51.100.0/24 until 2", "allow.add",
         "cidr 198.51.100.0/24", {"kind": "cidr", "value": "198.51.100.0/24"}),
        (["allow", "add", "user:amy"], "allowed user:amy without end", "allow.add", "user amy", {"kind": "user"}),
        (["fallback", "force", "service:cart", "--name", "empty"], "forced service:cart with empty  without end",
         "fallback.force", "service cart", {"scope": "service", "value": "cart", "name": "empty"}),
        (["fallback", "force", "tenant:shop", "--ttl", "15m"], "forced tenant:shop  until 2", "fallback.force",
         "tenant shop", {"name": None}),
        (["breaker", "open", "route:cart", "--ttl", "90s"], "route:cart  held open  until 2", "breaker.open",
         "route cart", {"state": "open"}),
        (["breaker", "close", "*"], "*  held closed  without end", "breaker.close", "*", {"state": "closed"}),
        (["breaker", "reset", "service:a"], "service:a  reset at 2", "breaker.reset", "service a",
         {"state": "reset"}),
        (["limits", "reset", "ip 203.0.113.7"], "ip 203.0.113.7  reset at 2", "limits.reset", "ip 203.0.113.7",
         {"key": "ip 203.0.113.7"}),
    ],
)  # fmt: skip
def test_each_change_is_told_kept_and_audited(
    kgate: Any, arguments: list[str], said: str, kind: str, subject: str, fields: dict[str, Any]
) -> None:
    assert kgate.ok(*arguments, "--reason", "why not").startswith(said)
    made = kgate.json(*arguments, "--actor", "lee")
    assert {name: made[name] for name in fields} == fields
    assert made["actor"] == "lee"
    first, second = kgate.store.events(10)
    assert (first.kind, first.subject, first.actor, first.reason) == (kind, subject, "kim", "why not")
    assert second.actor == "lee"
    (listed,) = kgate.json(arguments[0], "list")
    assert listed == {**made, "version": listed["version"]}
    assert "by lee" in kgate.ok(arguments[0], "list")


def test_limits_that_refuse_are_listed(kgate: Any) -> None:
    fd = Cells.create(1024)
    cells = Cells.attach(fd)
    hour = 3600 * 10**9
    while cells.gcra("per-ip ip=203.0.113.7", hour, 2 * hour, cells.now())[0]:
        pass
    with redis.Redis.from_url(kgate.url) as client:
        Board(cells, key_prefix(kgate.namespace)).tell(client)
    cells.close()
    os.close(fd)
    line = kgate.ok("limits", "list")
    assert line.startswith(
        "per-ip ip=203.0.113.7  1 refused on 1 node, 2 at once and one each 3600 s, the next"
    )
    (found,) = kgate.json("limits", "list")
    assert (found["key"], found["refused"]) == ("per-ip ip=203.0.113.7", 1)


@pytest.mark.parametrize(
    ("before", "ending", "said", "kind"),
    [
        ("allow add user:amy", "allow rm user:amy", "user:amy is not allowed any more", "allow.remove"),
        ("fallback force service:a", "fallback clear service:a", "cleared service:a", "fallback.clear"),
        ("breaker open *", "breaker clear *", "cleared *", "breaker.clear"),
    ],
)  # fmt: skip
def test_each_end(kgate: Any, before: str, ending: str, said: str, kind: str) -> None:
    begin, end = before.split(), ending.split()
    kgate.ok(*begin)
    assert kgate.ok(*end, "--reason", "over") == f"{said}\n"
    assert kgate.kinds()[-1] == kind
    assert kgate.json(end[0], "list") == []
    kgate.refused(1, *end)
    kgate.ok(*begin)
    assert kgate.json(*end)["removed"] is True


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["allow", "add", "0.0.0.0/4"], 2, "'0.0.0.0/4' is wider than /8"),
        (["allow", "add", "token:1"], 2, "'token:1': only addresses, networks and users"),
        (["allow", "add", "1.2.3.4/99"], 2, "'1.2.3.4/99' is not ADDRESS/BITS"),
        (["fallback", "force", "cart"], 2, "'cart': write tenant:NAME, service:NAME, route:NAME"),
        (["fallback", "force", "*"], 2, "'*': write"),
        (["fallback", "force", "service:"], 2, "'service:': a name is"),
        (["fallback", "force", "service:a", "--ttl", "0s"], 2, "--ttl '0s'"),
        (["breaker", "open", "host:a"], 2, "'host:a': write"),
        (["breaker", "open", "*", "--ttl", "1999-12-31"], 2, "--ttl '1999-12-31': is over"),
        (["limits", "reset", ""], 2, "key: ''"),
        (["list", "rm", "none"], 1, "there is no list none; see kgate list show"),
        (["list", "show", "none"], 1, "there is no list none"),
        (["list", "show", "a b"], 2, "name: 'a b'"),
        (["events", "list", "--count", "0"], 2, "count: 0"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    kgate: Any, arguments: list[str], code: int, says: str
) -> None:
    assert kgate.refused(code, *arguments).startswith(says)


@pytest.mark.parametrize(
    ("what", "empty"),
    [
        ("allow", "nothing is allowed by itself"),
        ("fallback", "no fallback is forced"),
        ("breaker", "no breaker is held"),
        ("limits", "no limit refused a request or was reset lately"),
        ("events", "there are no such events"),
        ("passport", "nothing is revoked"),
    ],
)
def test_empty_lists(kgate: Any, what: str, empty: str) -> None:
    assert kgate.ok(what, "list") == f"{empty}\n"
    assert kgate.json(what, "list") == []


# named lists


def test_a_list_is_replaced_as_a_whole(kgate: Any, tmp_path: Path) -> None:
    assert kgate.ok("list", "show") == "there are no lists\n"
    file = tmp_path / "beta users.txt"
    file.write_text("amy\nhttps://a|bob\n")
    said = kgate.ok("list", "import", str(file), "--kind", "users")
    assert said == "imported 2 users as beta-users: 2 new, 0 gone\n"
    assert kgate.ok("list", "show", "beta-users") == "amy\nhttps://a|bob\n"
    file.write_text("amy\nzoe\n")
    made = kgate.json("list", "import", str(file), "--kind", "users", "--if-version", "1")
    assert (made["added"], made["removed"], made["version"]) == (1, 1, 2)
    late = ("list", "import", str(file), "--kind", "users", "--if-version", "1")
    assert "the set is not at version 1: kim replaced it" in kgate.refused(1, *late)
    shown = kgate.json("list", "show", "beta-users")
    assert (shown["entries"], shown["kind"], shown["size"]) == (["amy", "zoe"], "users", 2)
    assert live.snapshot(kgate.store).lists["beta-users"].has_user("https://any", "zoe")
    assert kgate.ok("list", "show").startswith("beta-users: 2 users, without end")
    assert kgate.ok("list", "rm", "beta-users") == "removed beta-users with 2 users\n"
    assert kgate.kinds() == ["list.import", "list.import", "list.remove"]


def test_more_than_500_entries(kgate: Any) -> None:
    text = "".join(f"10.0.{n >> 8}.{n & 255}\n" for n in range(1_000))
    kgate.ok("list", "import", "-", "--name", "vip", "--kind", "addresses", stdin=text)
    assert len(kgate.json("list", "show", "vip")["entries"]) == 1_000
    bad = kgate("list", "import", "-", "--name", "vip", "--kind", "addresses", stdin="10.0.0.1\nnope\n")
    assert (bad.exit_code, bad.stderr.splitlines()[0][:9]) == (4, "-:2: 'nop")
    users = ("list", "import", "-", "--name", "vip", "--kind", "users")
    assert kgate.refused(4, *users, stdin="10.0.0.1\n").startswith(
        "vip is a list of addresses: remove it first"
    )
    assert kgate.json("list", "show", "vip")["size"] == 1_000


# events


def test_events_are_filtered(kgate: Any) -> None:
    kgate.ok("block", "add", "203.0.113.7", "--reason", "a")
    kgate.ok("block", "rm", "203.0.113.7", user="lee")
    kgate.ok("breaker", "open", "*", user="lee")
    lines = kgate.ok("events", "list").splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == [
        "block.add  ip 203.0.113.7  by kim  a", "block.remove  ip 203.0.113.7  by lee", "breaker.open  *  by lee",
    ]  # fmt: skip

    def listed(*options: str) -> list[str]:
        return [event["kind"] for event in kgate.json("events", "list", *options)]

    assert listed("--kind", "block") == ["block.add", "block.remove"]
    assert listed("--kind", "block.add") == ["block.add"]
    assert listed("--by", "lee", "--count", "1") == ["breaker.open"]
    assert listed("--subject", "203.0.113") == ["block.add", "block.remove"]
    event = kgate.json("events", "list", "--kind", "block.add")[0]
    assert (event["data"]["before"], event["data"]["after"]["version"]) == (None, 1)


def test_tail_follows(kgate: Any) -> None:
    kgate.ok("block", "add", "203.0.113.1")

    def later() -> None:
        time.sleep(0.3)
        for kind in ("blocks", "allows"):
            kgate.store.append(kgate.store.events(1)[0]._replace(kind=f"{kind}.test", actor="gateway"))

    other = threading.Thread(target=later)
    other.start()
    lines = kgate("events", "tail", "--limit", "3", "--output", "json").stdout.splitlines()
    other.join()
    assert [json.loads(line)["kind"] for line in lines] == ["block.add", "blocks.test", "allows.test"]
    assert kgate.ok("events", "tail", "--count", "0", "--seconds", "0") == ""


def test_tail_follows_on_when_redis_comes_back(own_redis: Any, namespace: str) -> None:
    """Tells once that it is away; what comes then is told, also by a Redis that has lost everything."""
    operator = Operator(own_redis.url, namespace)
    operator.ok("block", "add", "203.0.113.1")
    command = [sys.executable, "-m", "cli.main", "events", "tail", "--limit", "2", "--output", "json"]
    command += ["--redis", own_redis.url, "--namespace", namespace]
    ends = "; trying again until Ctrl-C\n", f"kgate: {own_redis.url}: is back\n"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert json.loads(tail.stdout.readline())["subject"] == "ip 203.0.113.1"
        own_redis.kill()
        assert tail.stderr.readline().endswith(ends[0])
        own_redis.start()
        assert tail.stderr.readline() == ends[1]
        operator.ok("block", "add", "203.0.113.2")
        assert json.loads(tail.stdout.readline())["subject"] == "ip 203.0.113.2"
        assert (tail.wait(30), tail.stdout.read()) == (0, "")
        # a Redis that stood still with the whole machine is away, too
        assert all(line.endswith(ends) for line in tail.stderr)
    operator.store.close()
