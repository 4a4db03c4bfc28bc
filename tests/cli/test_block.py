"""kgate block, against a real Redis."""

from __future__ import annotations

import csv
import json
import os
import pty
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kong_plugins.state.base import Block
from kong_plugins.state.operations import blocks
from kong_plugins.state.records import Put
from kong_plugins.state.targets import block_record
from tests.pace import within
from tests.ports import refused_port


def test_add_list_and_remove(kgate: Any) -> None:
    assert kgate.ok("block", "add", "::ffff:203.0.113.7", "--ttl", "10m", "--reason", "scans").startswith(
        "blocked 203.0.113.7 until 2"
    )
    (block,) = list(blocks.entries(kgate.store))
    assert block[:4] == ("ip", "203.0.113.7", "scans", "kim")
    assert block.expires == pytest.approx(block.created + 600, abs=30)
    assert abs(block.created - time.time()) < 60

    listed = kgate.ok("block", "list")
    assert listed.startswith("203.0.113.7  until ")
    assert listed.endswith("by kim  scans\n")

    assert kgate.ok("block", "rm", "203.0.113.7", "--reason", "over") == "unblocked 203.0.113.7\n"
    assert list(blocks.entries(kgate.store)) == []
    assert kgate.ok("block", "list") == "nothing is blocked\n"
    added, removed = kgate.store.events(10)
    assert (added.kind, added.actor, added.subject, added.reason) == (
        "block.add", "kim", "ip 203.0.113.7", "scans",
    )  # fmt: skip
    assert (removed.kind, removed.reason) == ("block.remove", "over")


@pytest.mark.parametrize(
    ("target", "kind", "value"),
    [
        ("203.0.113.0/24", "cidr", "203.0.113.0/24"),
        ("2001:DB8::/32", "cidr", "2001:db8::/32"),
        ("user:https://a|lee", "user", "https://a|lee"),
        ("token:https://a|77", "token", "https://a|77"),
        ("agent:BadBot", "agent", "badbot"),
    ],
)
def test_json(kgate: Any, target: str, kind: str, value: str) -> None:
    added = kgate.json("block", "add", target, "--actor", "lee")
    created = added.pop("created")
    assert added == {
        "kind": kind, "value": value, "reason": "", "actor": "lee", "expires": None, "source": "cli",
        "version": 1, "dry_run": False,
    }  # fmt: skip
    (listed,) = kgate.json("block", "list")
    assert listed.pop("created") == created
    assert {**listed, "dry_run": False} == added
    removed = kgate.json("block", "rm", target)
    assert removed == {"kind": kind, "value": value, "removed": True, "covered_by": ""}


@pytest.mark.parametrize(
    ("ttl", "seconds"), [("1s", 1), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800)]
)
def test_ttl(kgate: Any, ttl: str, seconds: int) -> None:
    before = kgate.store.now()
    made = kgate.json("block", "add", "203.0.113.7", "--ttl", ttl)
    assert before + seconds - 0.01 <= made["expires"] <= kgate.store.now() + seconds + 0.01


def test_ttl_until_a_moment(kgate: Any) -> None:
    kgate.ok("block", "add", "203.0.113.7", "--ttl", "2030-01-31T18:00Z")
    (block,) = list(blocks.entries(kgate.store))
    assert block.expires == pytest.approx(1_896_112_800, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["203.0.113.300"], 2, "'203.0.113.300' does not appear to be an IPv4 or IPv6 address"),
        (["203.0.113.1/24"], 2, "'203.0.113.1/24' has bits set after the prefix: write 203.0.113.0/24"),
        (["203.0.113.0/33"], 2, "'203.0.113.0/33' is not ADDRESS/BITS with 0 to 32 bits"),
        *(([f"0.0.0.0/{bits}"], 2, f"'0.0.0.0/{bits}' is wider than /8: refused") for bits in range(8)),
        (["::/15"], 2, "'::/15' is wider than /16: refused"),
        (["203.0.113.7", "--ttl", "10"], 2, "--ttl '10': write a number and s, m, h or d like 90s"),
        (["203.0.113.7", "--ttl", "0s"], 2, "--ttl '0s': is not more than 0"),
        (["203.0.113.7", "--ttl", "-5m"], 2, "--ttl '-5m': write"),
        (["203.0.113.7", "--ttl", "2020-01-01T00:00Z"], 2, "--ttl '2020-01-01T00:00Z': is over"),
        (["203.0.113.7", "--ttl", "9000-01-01"], 2, "--ttl '9000-01-01': is too far away"),
        (["203.0.113.7", "--ttl", "soon"], 2, "--ttl 'soon': "),
        (["203.0.113.7", "--ttl", "3651d"], 2, "--ttl '3651d': "),
        (["203.0.113.7", "--ttl", "٣m"], 2, "--ttl '٣m': "),
        (["203.0.113.7", "--reason", "a\x1b[2J"], 2, "--reason: at most 200 printable characters"),
        (["203.0.113.7", "--actor", "a\nb"], 2, "--actor: "),
        (["203.0.113.7", "--actor", " "], 2, "--actor: say who does this"),
        (["user:"], 2, "'user:': a user is 1 to 512 printable characters"),
        (["agent:Mozilla/5.0 ("], 2, "'agent:Mozilla/5.0 (' stands in every browser's"),
        (["198.51.100.7"], 4, "198.51.100.7 touches the allow 198.51.100.0/24: remove that first"),
        (["198.51.0.0/16", "--dry-run"], 4, "198.51.0.0/16 touches the allow 198.51.100.0/24"),
        (["user:alice"], 4, "user:alice touches the allow user:alice"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    kgate: Any, arguments: list[str], code: int, says: str
) -> None:
    kgate.ok("allow", "add", "198.51.100.0/24")
    kgate.ok("allow", "add", "user:alice")
    assert kgate.refused(code, "block", "add", *arguments).startswith(says)


def test_a_dry_run_writes_nothing(kgate: Any) -> None:
    assert kgate.ok("block", "add", "203.0.113.7", "--dry-run") == "would block 203.0.113.7 without end\n"
    assert (kgate.store.version(), kgate.kinds()) == (0, [])


@pytest.mark.parametrize(
    "options",
    [
        ["--redis", "http://localhost"],
        ["--namespace", "a b"],
        ["--redis", "127.0.0.1:6379"],
        ["--redis-ca", "ca.pem"],
        ["--redis", "memory://"],
        ["--redis", "redis://127.0.0.1:1/0?bogus=1"],
        ["--redis", "redis://127.0.0.1:1/zero"],
    ],
)
def test_wrong_url_or_namespace_is_wrong_usage(kgate: Any, options: list[str]) -> None:
    kgate.refused(2, "block", "list", *options)


def test_removing_what_is_not_there(kgate: Any) -> None:
    assert kgate.refused(1, "block", "rm", "203.0.113.7") == "203.0.113.7 has no block; see kgate block list"
    assert kgate.refused(1, "block", "rm", "--set", "feed").startswith("there is no imported set feed")
    assert kgate.refused(2, "block", "rm").startswith("give a TARGET, or --set NAME")


def test_a_network_that_still_covers_the_address_is_named(kgate: Any) -> None:
    kgate.ok("block", "add", "203.0.113.0/24")
    kgate.ok("block", "add", "203.0.113.7")
    assert kgate.ok("block", "rm", "203.0.113.7") == (
        "unblocked 203.0.113.7, but it is still covered by 203.0.113.0/24\n"
    )
    assert "it is covered by 203.0.113.0/24" in kgate.refused(1, "block", "rm", "203.0.113.7")


def test_check(kgate: Any) -> None:
    kgate.ok("block", "add", "203.0.113.0/24", "--reason", "scans")
    kgate.ok("block", "add", "203.0.113.7")
    assert kgate.ok("block", "check", "198.51.100.1") == "198.51.100.1 is not blocked\n"
    lines = kgate.ok("block", "check", "203.0.113.7").splitlines()
    assert lines[0] == "203.0.113.7 is blocked:"
    assert [line.split()[0] for line in lines[1:]] == ["203.0.113.7", "203.0.113.0/24"]
    found = kgate.json("block", "check", "203.0.113.8")
    assert (found["refused"], found["allow"], found["blocks"][0]["reason"]) == (True, None, "scans")


def test_a_list_cannot_steer_the_terminal(kgate: Any) -> None:
    kgate.store.apply([Put(block_record(Block("user", "a", "b\x1b[31m\r", "c\n", 0.0)))])
    assert kgate.ok("block", "list") == "user:a  without end  by c?  b?[31m?\n"


UNPRINTABLE = "\x1b[31m\x9b2J\u202e\r\n\ud83d"


def test_json_and_export_cannot_steer_the_terminal(kgate: Any) -> None:
    kgate.store.apply([Put(block_record(Block("user", "a", f"é{UNPRINTABLE}", UNPRINTABLE, 0.0)))])
    for arguments in (["list", "--output", "json"], ["export"], ["export", "--output", "json"]):
        said = kgate.ok("block", *arguments)
        assert said.replace("\n", "").isprintable(), said
    (found,) = kgate.json("block", "list")
    assert (found["reason"], found["actor"]) == (f"é{UNPRINTABLE}", UNPRINTABLE)
    exported = kgate.ok("block", "export")
    assert "é?[31m?2J????" in exported
    kgate.ok("block", "import", "-", "--name", "again", stdin=exported)


def test_an_end_that_no_calendar_has_is_shown_as_a_number(kgate: Any) -> None:
    kgate.store.apply([Put(block_record(Block("user", "a", "", "kim", 0.0, 1.9e12)))])
    assert kgate.ok("block", "list") == "user:a  until second 1.9e+12  by kim\n"


def test_a_block_is_told_to_followers_at_once(kgate: Any) -> None:
    changes = kgate.store.subscribe()
    try:
        changes.wait(0.1)
        kgate.ok("block", "add", "203.0.113.7")
        assert changes.wait(30)
        assert [block.value for block in list(blocks.entries(kgate.store))] == ["203.0.113.7"]
    finally:
        changes.close()


# import and export


def test_import_replaces_a_set_in_one_step(kgate: Any, tmp_path: Path) -> None:
    feed = tmp_path / "feed.csv"
    feed.write_text("ip,ttl,reason\n203.0.113.1,2h,spam\n203.0.113.0/28,,\nuser:bob,,\n")
    assert kgate.ok("block", "import", str(feed), "--ttl", "7d", "--reason", "weekly") == (
        "imported 3 blocks as feed: 3 new, 0 gone\n"
    )
    feed.write_text("# plain\n203.0.113.1\n203.0.113.99 # new\n203.0.113.99\n")
    made = kgate.json("block", "import", str(feed))
    assert {name: made[name] for name in ("name", "size", "added", "removed", "same", "version", "dry_run")} == {
        "name": "feed", "size": 2, "added": 1, "removed": 2, "same": 1, "version": 2, "dry_run": False,
    }  # fmt: skip
    assert kgate.json("block", "list") == []
    rows = kgate.json("block", "list", "--all")
    assert sorted((row["value"], row["source"]) for row in rows) == [
        ("203.0.113.1", "import:feed"), ("203.0.113.99", "import:feed"),
    ]  # fmt: skip
    assert kgate.ok("block", "list").startswith("set feed: 2 blocks, without end")
    assert kgate.json("block", "check", "203.0.113.99")["refused"]
    assert kgate.ok("block", "rm", "--set", "feed") == "unblocked the 2 targets of feed\n"
    assert kgate.kinds() == ["block.import", "block.import", "block.unimport"]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("203.0.113.1\n1.2.3.300\n0.0.0.0/5\n", {2: "'1.2.3.300' does not", 3: "'0.0.0.0/5' is wider"}),
        ("203.0.113.1\n198.51.100.9\n", {2: "198.51.100.9 touches the allow 198.51.100.0/24"}),
        ("ip,expires\n203.0.113.1,2020-01-01\n", {2: "expires: 2020-01-01 is over"}),
        ("ip,ttl\n203.0.113.1,0\n", {2: "ttl: '0' is not"}),
    ],
)
def test_one_bad_row_and_nothing_is_imported(kgate: Any, text: str, problems: dict[int, str]) -> None:
    kgate.ok("allow", "add", "198.51.100.0/24")
    before = kgate.store.version()
    result = kgate("block", "import", "-", "--name", "feed", stdin=text)
    assert (result.exit_code, result.stdout) == (4, "")
    lines = result.stderr.splitlines()
    for said, (number, message) in zip(lines, problems.items(), strict=False):
        assert said.startswith(f"-:{number}: {message}")
    rows = "1 row" if len(problems) == 1 else f"{len(problems)} rows"
    assert lines[-1] == f"kgate: {rows} cannot be taken; nothing was written"
    found = kgate.json("block", "import", "-", "--name", "feed", stdin=text, code=4)
    assert (found["count"], [one["line"] for one in found["problems"]]) == (len(problems), list(problems))
    assert kgate.store.version() == before
    assert kgate.kinds() == ["allow.add"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "says"),
    [
        (["-"], "203.0.113.1\n", 2, "what comes from stdin needs a name"),
        (["-", "--name", "a b"], "203.0.113.1\n", 2, "name: 'a b' is not"),
        (["none.csv"], None, 2, "none.csv: No such file or directory"),
        (["-", "--name", "x"], "", 2, "there are no rows to import"),
        (["-", "--name", "x"], b"\xff\xfe", 2, "-: not UTF-8 text (byte 0)"),
        (["-", "--name", "x", "--if-version", "3"], "203.0.113.1\n", 1, "x: the set is not at version 3"),
        (["-", "--format", "crowdsec"], "{}", 2, "not a list of CrowdSec's alerts"),
        (["-", "--format", "crowdsec"], "nope", 2, "not the JSON of `cscli"),
    ],
)
def test_an_import_that_cannot_be(
    kgate: Any, arguments: list[str], stdin: str | bytes | None, code: int, says: str
) -> None:
    assert kgate.refused(code, "block", "import", *arguments, stdin=stdin).startswith(says)


def test_import_dry_run(kgate: Any) -> None:
    said = kgate.ok("block", "import", "-", "--name", "feed", "--dry-run", stdin="203.0.113.1\n")
    assert said == "would import 1 blocks as feed: 1 new, 0 gone\n"
    assert (kgate.store.version(), kgate.kinds()) == (0, [])


def decision(value: str, **fields: Any) -> dict[str, Any]:
    return {
        "duration": "3h59m2.5s", "origin": "CAPI", "scenario": "crowdsecurity/ssh-bf", "scope": "Ip",
        "type": "ban", "value": value, "simulated": False, **fields,
    }  # fmt: skip


def test_crowdsec(kgate: Any) -> None:
    alerts = [
        {
            "id": 1,
            "decisions": [
                decision("203.0.113.1"),
                decision("203.0.113.1", duration="5h0m0s", origin="cscli"),
            ],
        },
        {"id": 2, "decisions": [decision("203.0.113.0/28", scope="Range"), decision("KR", scope="Country")]},
        {
            "id": 3,
            "decisions": [decision("203.0.113.9", duration="-1m2s"), decision("203.0.113.8", type="captcha")],
        },
        {"id": 4, "decisions": None},
    ]
    made = kgate.json("block", "import", "-", "--format", "crowdsec", stdin=json.dumps(alerts))
    assert (made["name"], made["size"], made["skipped"]) == ("crowdsec", 2, 3)
    rows = {row["value"]: row for row in kgate.json("block", "list", "--all")}
    assert rows["203.0.113.1"]["reason"] == "cscli: crowdsecurity/ssh-bf"
    assert rows["203.0.113.1"]["expires"] == pytest.approx(time.time() + 18_000, abs=60)
    assert rows["203.0.113.0/28"]["source"] == "import:crowdsec"
    auto = kgate.json("block", "import", "-", "--name", "seen", stdin=json.dumps(alerts))
    assert (auto["size"], auto["skipped"]) == (2, 3)
    flat = json.dumps([decision("203.0.113.5")])
    assert kgate.json("block", "import", "-", "--format", "crowdsec", stdin=flat)["size"] == 1


@pytest.mark.parametrize("nobody", ["null\n", "[]", json.dumps([decision("203.0.113.9", duration="-1m2s")])])
def test_when_crowdsec_bans_nobody_any_more_its_blocks_are_lifted(kgate: Any, nobody: str) -> None:
    command = ("block", "import", "-", "--name", "crowdsec")
    made = kgate.json(*command, stdin=nobody)
    assert (made["size"], made["removed"]) == (0, 0), "nothing to lift is no error"
    kgate.ok(*command, stdin=json.dumps([decision("203.0.113.5"), decision("203.0.113.6")]))
    assert kgate.json(*command, "--dry-run", stdin=nobody)["removed"] == 2
    assert len(kgate.json("block", "list", "--all")) == 2
    assert "imported 0 blocks as crowdsec: 0 new, 2 gone" in kgate.ok(*command, stdin=nobody)
    assert kgate.json("block", "list", "--all") == []
    assert "no rows" in kgate.refused(2, "block", "import", "-", "--name", "feed", stdin="# none\n")


def test_a_decision_about_somebody_whom_an_operator_allows_stops_no_import(kgate: Any) -> None:
    """A feed comes by itself, and the allow wins in any case; it may be taken back while the decision lasts."""
    kgate.ok("allow", "add", "203.0.113.5")
    kgate.ok("allow", "add", "203.0.114.9")
    rows = [decision("203.0.113.5"), decision("203.0.113.6"), decision("203.0.114.0/24", scope="Range")]
    made = kgate.json("block", "import", "-", "--name", "crowdsec", stdin=json.dumps(rows))
    assert (made["size"], made["skipped"]) == (3, 0)
    assert "203.0.113.5 is allowed by 203.0.113.5" in kgate.ok("block", "check", "203.0.113.5")
    assert "203.0.114.8 is blocked" in kgate.ok("block", "check", "203.0.114.8")
    assert "is allowed by" in kgate.ok("block", "check", "203.0.114.9")
    kgate.ok("allow", "rm", "203.0.113.5")
    assert "203.0.113.5 is blocked" in kgate.ok("block", "check", "203.0.113.5")


def test_what_is_exported_can_be_imported(kgate: Any, tmp_path: Path) -> None:
    kgate.ok("block", "add", "203.0.113.7", "--ttl", "1h", "--reason", 'says "no", twice')
    kgate.ok("block", "add", "user:https://a|lee")
    kgate.ok("block", "import", "-", "--name", "feed", stdin="203.0.113.1\n")
    file = tmp_path / "out.csv"
    assert kgate("block", "export", str(file)).stderr == f"wrote 3 blocks to {file}\n"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["target"] for row in rows] == ["203.0.113.7", "user:https://a|lee", "203.0.113.1"]
    made = kgate.json("block", "import", str(file), "--name", "again")
    assert made["size"] == 3
    again = {
        row["value"]: row for row in kgate.json("block", "list", "--all") if row["source"] == "import:again"
    }
    assert again["203.0.113.7"]["reason"] == 'says "no", twice'
    assert len(kgate.ok("block", "export", "--own").splitlines()) == 3
    assert "cannot write" in kgate.refused(1, "block", "export", str(tmp_path / "no" / "out.csv"))


def test_100_000_rows_with_a_bar_on_a_terminal(kgate: Any, tmp_path: Path) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(100_000)))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cli.main", "block", "import", str(feed)]
    env = {**os.environ, "REDIS_URL": kgate.url, "KGATE_NAMESPACE": kgate.namespace}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=env) as process:
        os.close(theirs)
        drawn = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says EIO when the other side is closed
                break
            if not piece:
                break
            drawn += piece
        os.close(ours)
        assert process.stdout is not None
        assert process.stdout.read() == b"imported 100,000 blocks as feed: 100,000 new, 0 gone\n"
    assert process.returncode == 0
    assert b"100,000 rows" in drawn
    assert b"100%" in drawn
    assert drawn.count(b"%") > 3
    (source,) = kgate.json("block", "list", "--sets")
    assert (source["name"], source["size"]) == ("feed", 100_000)


# Redis away

COMMANDS = [
    ["block", "add", "203.0.113.7"],
    ["block", "rm", "203.0.113.7"],
    ["block", "list"],
    ["block", "check", "203.0.113.7"],
    ["block", "export"],
    ["block", "import", "-", "--name", "x"],
    ["allow", "add", "203.0.113.7"],
    ["canary", "set", "v2", "--pause", "--new"],
    ["canary", "list"],
    ["canary", "why", "checkout-v2", "--user", "kim"],
    ["canary", "promote", "checkout-v2"],
    ["fallback", "force", "service:a"],
    ["breaker", "open", "*"],
    ["limits", "reset", "*"],
    ["list", "show", "x"],
    ["passport", "revoke", "--issuer", "a", "--subject", "b"],
    ["events", "list"],
    ["events", "tail"],
    ["explain", "--url", "http://shop.example.com/cart"],
    ["top"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_redis_away_is_one_line_with_the_address_and_exit_1(
    kgate: Any, shop_dir: Path, arguments: list[str]
) -> None:
    with refused_port() as port:
        started = time.monotonic()
        url = f"redis://:secret@127.0.0.1:{port}/0"
        result = kgate(*arguments, "--redis", url, stdin="203.0.113.1\n")
        assert time.monotonic() - started < within(2)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"redis://127.0.0.1:{port}/0" in result.stderr
    assert "--redis" in result.stderr
    assert "secret" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("real_patience")
@pytest.mark.parametrize("arguments", [["block", "add", "203.0.113.7"], ["top"]], ids=" ".join)
def test_a_redis_that_hangs_ends_within_two_seconds(kgate: Any, arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        started = time.monotonic()
        result = kgate(*arguments, "--redis", address)
        assert time.monotonic() - started < within(2)
    assert result.exit_code == 1
    assert address in result.stderr
    assert result.stderr.count("\n") == 1
