"""Every reason id that a client or a log may show is one that `kgate explain` knows."""

import re
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from cli.reasons import REASONS
from kong_plugins.abuse_guard.refusals import TOLD

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(
    r"problem\(\s*[0-9]+, \"([a-z_]+)\"|TokenError\(\s*\"([a-z_]+)\""
    r"|_no_verdict\(\w+, \"([a-z_]+)\"|reason=\"([a-z_]+)\""
)


def ids_of_the_sources() -> set[str]:
    python = "".join(path.read_text() for path in (ROOT / "kong_plugins").rglob("*.py"))
    lua = (ROOT / "kong_plugins/adapter/common/kong/plugins/kgate/problem.lua").read_text()
    details = lua.partition("local DETAIL = {")[2].partition("}")[0]
    return {name for found in PYTHON.findall(python) for name in found if name} | set(
        re.findall(r"^  ([a-z_]+) = ", details, re.MULTILINE)
    )


def ids_of_the_docs() -> set[str]:
    rows = [
        line
        for page in ("abuse.md", "passport.md")
        for line in (ROOT / "docs" / page).read_text().splitlines()
        if re.match(r"\| [0-9]{3} \| `", line)
    ]
    return {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[2])}


def test_none_is_missing() -> None:
    sources, docs = ids_of_the_sources(), ids_of_the_docs()
    assert {"ip_unreadable", "token_expired", "no_state", "server_away", "scenario_limited"} <= sources
    assert {"agent_blocked", "rate_limited", "issued_before"} <= docs
    assert (sources | docs | TOLD) - set(REASONS) == set()


@pytest.mark.parametrize("name", REASONS)
def test_what_to_look_at_next_is_a_command(name: str) -> None:
    words = REASONS[name].see.split(" ")
    assert words[0] == "kgate"
    found: Any = main.get_command(None, words[1])  # type: ignore[arg-type]
    assert found is not None
    if len(words) > 2 and words[2].islower() and words[2].isalpha():
        assert words[2] in found.commands


def test_a_reason_is_explained(kgate: Any) -> None:
    shown = kgate.ok("explain", "ip_blocked")
    assert shown == (
        "ip_blocked (abuse-guard, answered 403): the address, or a network around it, is blocked\n"
        "see: kgate block check ADDRESS\n"
    )
    assert "(abuse-guard, the request goes on): " in kgate.ok("explain", "rate_limit_dry_run")
    found = kgate.json("explain", "token_expired")
    assert (found["reason"], found["plugin"], found["status"]) == ("token_expired", "passport", 401)
    assert found["see"].startswith("kgate explain --url ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["ratelimited"], "'ratelimited' is no reason id of the gateway; did you mean rate_limited"),
        (["?"], "'?' is no reason id of the gateway"),
        ([], "give --url for a request, or a REASON id"),
        (["ip_blocked", "--url", "http://shop.example/"], "give --url for a request, or a REASON id"),
    ],
)
def test_what_is_no_reason(kgate: Any, options: list[str], says: str) -> None:
    assert says in kgate.refused(2, "explain", *options)
