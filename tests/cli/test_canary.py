"""kgate canary, against a real Redis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from kong_plugins.state.base import CanaryOverride
from kong_plugins.state.operations import canaries
from kong_plugins.state.records import Record
from kong_plugins.state.redis import RedisStore

NAME = "checkout-v2"


def stored(kgate: Any) -> CanaryOverride:
    found = canaries.get(kgate.store, NAME)
    assert found is not None
    return found


def test_changes_add_up(kgate: Any, shop_dir: Path) -> None:
    assert kgate.ok("canary", "set", NAME, "--percent", "10", "--reason", "first") == (
        "checkout-v2: running, 10%, users of the plan, version 1\n"
    )
    kgate.ok("canary", "set", NAME, "--users", "kim, https://a|lee,")
    assert ": paused, 10%, 2 pinned users, version 3" in kgate.ok("canary", "pause", NAME)
    found = stored(kgate)
    assert found[:4] == (NAME, 10.0, frozenset({"kim", "https://a|lee"}), True)
    assert (found.version, found.actor) == (3, "kim")
    assert kgate.ok("canary", "resume", NAME) == "checkout-v2: running, 10%, 2 pinned users, version 4\n"
    assert ", 0 pinned users, version 5\n" in kgate.ok("canary", "set", NAME, "--users", "")
    assert kgate.ok("canary", "set", NAME, "--reset") == "checkout-v2: follows its plan again\n"
    assert canaries.get(kgate.store, NAME) is None
    assert kgate.kinds() == [
        "canary.set", "canary.set", "canary.pause", "canary.resume", "canary.set", "canary.reset",
    ]  # fmt: skip


def test_list(kgate: Any) -> None:
    assert kgate.ok("canary", "list") == "no canary is overridden: all follow their plans\n"
    kgate.ok("canary", "set", "v2", "--percent", "12.5%", "--pause", "--new")
    kgate.ok("canary", "set", "a", "--users", "lee,kim", "--new")
    lines = kgate.ok("canary", "list").splitlines()
    assert lines[0].startswith("a: running, percent of the plan, 2 pinned users, version 1, 2")
    assert lines[1].startswith("v2: paused, 12.5%, users of the plan, version 1, 2")
    assert lines[1].endswith(" UTC by kim")
    listed = kgate.json("canary", "list")
    assert [record["name"] for record in listed] == ["a", "v2"]
    assert listed[0]["users"] == ["kim", "lee"]
    assert (listed[1]["percent"], listed[1]["paused"], listed[1]["users"]) == (12.5, True, None)


def test_set_as_json(kgate: Any) -> None:
    record = kgate.json("canary", "set", "v2", "--percent", "0", "--new")
    assert {name: record[name] for name in list(record)[:6]} == {
        "name": "v2", "percent": 0.0, "users": None, "paused": False, "version": 1, "actor": "kim",
    }  # fmt: skip


def test_a_ttl_ends_the_override_and_a_later_change_keeps_the_end(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("canary", "set", NAME, "--percent", "10", "--ttl", "2h")
    end = stored(kgate).expires
    assert end == pytest.approx(stored(kgate).changed + 7200, abs=1)
    kgate.ok("canary", "pause", NAME)
    assert stored(kgate).expires == pytest.approx(end, abs=1)


# who is known


@pytest.mark.parametrize("verb", ["pause", "resume", "abort"])
def test_an_unknown_canary_is_refused(kgate: Any, shop_dir: Path, verb: str) -> None:
    said = kgate.refused(4, "canary", verb, "chekout-v2")
    assert said == "canary 'chekout-v2' is not known: the files have checkout-v2"


@pytest.mark.parametrize(
    "arguments", [["show", "v9"], ["promote", "v9"], ["why", "v9", "--user", "kim"], ["set", "v9", "--percent", "1"]]
)  # fmt: skip
def test_an_unknown_canary_by_the_other_commands(kgate: Any, shop_dir: Path, arguments: list[str]) -> None:
    assert "canary 'v9' is not known: the files have checkout-v2" in kgate.refused(4, "canary", *arguments)
    assert "not known" in kgate.refused(4, "-f", "gateway.yaml", "canary", *arguments)


def test_without_files_an_override_makes_it_known(
    kgate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "name the file with -f, or give --new" in kgate.refused(4, "canary", "pause", "v2")
    assert kgate.refused(4, "canary", "show", "v2").endswith("name the file with -f")
    assert "not 9, nothing was written; there is no override; see" in kgate.refused(
        1, "canary", "set", "v2", "--pause", "--new", "--if-version", "9"
    )
    kgate.ok("canary", "set", "v2", "--percent", "1", "--new")
    kgate.ok("canary", "pause", "v2")
    (tmp_path / "gateway.yaml").write_text("services: [")
    kgate.ok("canary", "resume", "v2")  # a broken file at hand must not keep anybody from steering
    assert "not known" in kgate.refused(4, "canary", "pause", "v3")
    assert "the files have errors" in kgate.refused(4, "canary", "pause", "v3", "-f", "gateway.yaml")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["set", NAME], 2, "nothing to set: give --percent"),
        (["set", NAME, "--percent", "101"], 2, "--percent '101': write a number from 0 to 100"),
        (["set", NAME, "--percent", "nan"], 2, "--percent 'nan': "),
        (["set", NAME, "--percent", "ten"], 2, "--percent 'ten': "),
        (["set", NAME, "--percent=-1"], 2, "--percent '-1': "),
        (["set", "a b", "--pause"], 2, "name: 'a b' is not"),
        (["set", NAME, "--reset", "--pause"], 2, "--reset goes with no other change"),
        (["set", NAME, "--pause", "--actor", "\x07"], 2, "--actor: "),
        (["set", NAME, "--pause", "--ttl", "0m"], 2, "--ttl '0m': "),
        (["set", NAME, "--pause", "--ttl", "2020-01-01"], 2, "--ttl '2020-01-01': is over"),
        (["set", NAME, "--reset"], 1, "canary checkout-v2 has no override"),
        (["promote", NAME], 1, "canary checkout-v2 has no override: there is nothing to promote"),
        (["why", NAME], 2, "who? give --user, --token or --ip"),
        (["why", NAME, "--issuer", "a"], 2, "--issuer goes with --user"),
        (["why", NAME, "--token", "a.b"], 2, "the token is no signed JWT"),
    ],
)
def test_bad_input_is_one_line(
    kgate: Any, shop_dir: Path, arguments: list[str], code: int, says: str
) -> None:
    assert kgate.refused(code, "canary", *arguments).startswith(says)


# two operators


def test_if_version(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("canary", "set", NAME, "--percent", "1", "--if-version", "0")
    kgate.ok("canary", "set", NAME, "--percent", "5", "--reason", "up", user="lee")
    said = kgate.refused(1, "canary", "set", NAME, "--percent", "50", "--if-version", "1")
    assert said.startswith(
        "canary checkout-v2 is at version 2, not 1, nothing was written; changed by lee at 2"
    )
    assert "UTC: percent 1.0 -> 5.0 (up); see kgate canary show checkout-v2 and try again" in said
    assert stored(kgate).percent == 5
    kgate.ok("canary", "set", NAME, "--percent", "2", "--if-version", "2")
    said = kgate.refused(1, "canary", "pause", NAME, "--if-version", "2")
    assert "percent 5.0 -> 2.0" in said
    assert "1.0 -> 5.0" not in said


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        (["set", NAME, "--percent", "20"], ["pause", NAME], "by lee at 2{} UTC: paused false -> true"),
        (["set", NAME, "--reset"], ["set", NAME, "--users", "a,b"], "users none -> ['a', 'b']"),
        (["pause", NAME], ["set", NAME, "--reset"], "by lee at 2{} UTC: removed it"),
        (["abort", NAME], ["set", NAME, "--percent", "2"], "percent 1.0 -> 2.0"),
    ],
)  # fmt: skip
def test_the_loser_of_a_race_is_told_what_changed(
    kgate: Any, shop_dir: Path, monkeypatch: pytest.MonkeyPatch, mine: list[str], theirs: list[str], told: str
) -> None:
    """Somebody else writes between our read and our write."""
    kgate.ok("canary", "set", NAME, "--percent", "1")
    real = RedisStore.get
    raced: list[str] = []

    def get_then_race(store: RedisStore, collection: str, key: str) -> Record | None:
        found = real(store, collection, key)
        if not raced:
            raced.append("now")
            raced.append(kgate.ok("canary", *theirs, user="lee"))
        return found

    monkeypatch.setattr(RedisStore, "get", get_then_race)
    result = kgate("canary", *mine)
    monkeypatch.undo()
    assert (result.exit_code, result.stdout) == (1, "")
    for part in told.split("{}"):
        assert part in result.stderr
    assert "nothing was written" in result.stderr
    assert kgate.kinds()[2:] == []  # ours is not there


def test_two_processes_at_once(kgate: Any, shop_dir: Path) -> None:
    """Of those that saw the same version one wins, the others are told."""
    command = [sys.executable, "-m", "cli.main", "canary", "set", NAME, "--if-version", "0", "--percent"]
    env = {"REDIS_URL": kgate.url, "KGATE_NAMESPACE": kgate.namespace, "USER": "x", "PATH": ""}
    running = [
        subprocess.Popen([*command, str(n)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]  # fmt: skip
    ended = [(process.communicate()[1], process.returncode) for process in running]
    assert sorted(code for _, code in ended) == [0, 1]
    assert all("is at version 1, not 0" in said for said, code in ended if code)
    assert stored(kgate).version == 1


# show, why, abort, promote


def test_abort_is_for_good(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("canary", "set", NAME, "--percent", "50")
    assert "checkout-v2: aborted, 50%" in kgate.ok("canary", "abort", NAME, "--reason", "wrong prices")
    why = kgate.ok("canary", "why", NAME, "--user", "kim")
    assert why.startswith("checkout-v2=control: aborted: override version 2 by kim  wrong prices")
    for verb in ("pause", "resume"):
        assert "is aborted: kgate canary set checkout-v2 --reset" in kgate.refused(4, "canary", verb, NAME)
    assert "only a running one can be promoted" in kgate.refused(4, "canary", "promote", NAME)


def test_show(kgate: Any, shop_dir: Path) -> None:
    lines = kgate.ok("canary", "show", NAME).splitlines()
    assert lines == [
        "checkout-v2: no override, it follows its plan",
        "plan: 5%, 2 users, 1 networks, upstream cart-v2 (gateway.yaml:18:5)",
        "now: 5% of the users",
    ]
    kgate.ok("canary", "set", NAME, "--users", "amy")
    assert "  user amy" in kgate.ok("canary", "show", NAME).splitlines()
    found = kgate.json("canary", "show", NAME)
    assert (found["override"]["users"], found["plans"][0]["percent"]) == (["amy"], 5)


def unsigned(**claims: str) -> str:
    return jwt.encode({"iss": "https://a", **claims}, "x" * 32, "HS256")


@pytest.mark.parametrize(
    ("set_", "who", "arm", "rule", "why"),
    [
        ([], ["--user", "kim"], "canary", "canary_user", "a pinned user (the plan)"),
        ([], ["--token", unsigned(sub="lee")], "canary", "canary_user", "a pinned user (the plan)"),
        ([], ["--ip", "198.51.100.7"], "canary", "canary_cidr", "address 198.51.100.7 is in the plan's networks"),
        ([], ["--user", "https://a|bob"], "control", "", "not pinned, bucket "),
        (["--percent", "100"], ["--user", "zoe", "--issuer", "b"], "canary", "canary_percent", "is below 10000"),
        (["--users", "zoe"], ["--user", "zoe"], "canary", "canary_user", "a pinned user (override version 1 by kim)"),
        (["--users", "zoe"], ["--user", "kim"], "control", "", "not pinned"),
        (["--pause"], ["--user", "kim"], "control", "canary_paused", "paused: override version 1 by kim"),
    ],
)  # fmt: skip
def test_why(
    kgate: Any, shop_dir: Path, set_: list[str], who: list[str], arm: str, rule: str, why: str
) -> None:
    if set_:
        kgate.ok("canary", "set", NAME, *set_)
    (answer,) = kgate.json("canary", "why", NAME, *who)["answers"]
    assert (answer["arm"], answer["rule"]) == (f"{NAME}={arm}", rule)
    assert why in answer["why"]
    assert answer["place"] == "gateway.yaml:18:5"
    assert kgate.ok("canary", "why", NAME, *who).startswith(f"{NAME}={arm}: ")


def test_promote_edits_the_file_and_nothing_else(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("canary", "set", NAME, "--percent", "12.5", "--users", "kim,zoe: #1")
    before = Path("gateway.yaml").read_text()
    shown = kgate.ok("canary", "promote", NAME, "--dry-run")
    assert Path("gateway.yaml").read_text() == before
    changed = [line for line in shown.splitlines() if line[:1] in "+-"]
    assert changed == [
        "--- gateway.yaml (now)",
        "+++ gateway.yaml (promoted)",
        "-      percent: 5 # a twentieth",
        "+      percent: 12.5 # a twentieth",
        "-      - lee # new",
        '+      - "zoe: #1"',
    ]
    assert kgate.ok("canary", "promote", NAME, "--reason", "good") == shown
    after = Path("gateway.yaml").read_text()
    assert after == before.replace("percent: 5", "percent: 12.5").replace("- lee # new", '- "zoe: #1"')
    assert kgate.ok("canary", "promote", NAME).startswith("the files say already")
    event = kgate.store.events(1)[0]
    assert (event.kind, event.subject, event.reason) == ("canary.promote", NAME, "good")
    assert kgate.json("canary", "promote", NAME) == {"name": NAME, "written": False, "files": []}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("{name: v2, upstream: u}", "{name: v2, upstream: u, percent: 30, users: [\"amy\"]}"),
        ("{name: v2, percent: 3, users: [a], upstream: u}", '{name: v2, percent: 30, users: ["amy"], upstream: u}'),
        ('{"name": "v2", "upstream": "u"}', '{"name": "v2", "upstream": "u", "percent": 30, "users": ["amy"]}'),
        ("\n      upstream: u\n      name: v2",
         '\n      percent: 30\n      users: ["amy"]\n      upstream: u\n      name: v2'),
        ("\n      name: v2\n      users:\n      - x\n      upstream: u",
         '\n      percent: 30\n      name: v2\n      users: ["amy"]\n      upstream: u'),
        ("\n      upstream: u\n      name: v2\n      percent: 3\n      users: # all\n      - amy",
         "\n      upstream: u\n      name: v2\n      percent: 30\n      users: # all\n      - amy"),
        ("&c\n      upstream: u\n      name: v2 # é\n      percent: '3'", None),
    ],
)  # fmt: skip
def test_promote_in_every_form_of_yaml(
    kgate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, expected: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        '_format_version: "3.0"\nclusters: {one: {nodes: ["http://127.0.0.1:9"]}}\n'
        "services:\n- {name: other, url: 'http://o'}\n- name: cart\n  url: http://cart\n"
        "  routes: [{name: cart, paths: [/cart]}]\n  plugins:\n  - name: canary-router\n    config: CONFIG\n"
        "upstreams: [{name: u, targets: [{target: '127.0.0.1:10'}]}]\n"
    )
    Path("g.yaml").write_text(text.replace("CONFIG", config))
    kgate.ok("canary", "set", "v2", "--percent", "30", "--users", "amy", "--new")
    if expected is None:  # it is no sound file to begin with
        assert "the files have errors" in kgate.refused(4, "canary", "promote", "v2", "-f", "g.yaml")
        return
    kgate.ok("canary", "promote", "v2", "-f", "g.yaml")
    assert Path("g.yaml").read_text() == text.replace("CONFIG", expected)


def test_promote_of_a_config_that_stands_in_two_places(kgate: Any, shop_dir: Path) -> None:
    file = Path("gateway.yaml")
    text = file.read_text().replace("config: # the plan", "config: &plan # the plan")
    more = "- name: menu\n  url: http://menu\n  routes: [{name: menu, paths: [/menu]}]\n"
    more += "  plugins: [{name: canary-router, config: *plan}]\nupstreams:"
    file.write_text(text.replace("upstreams:", more))
    kgate.ok("canary", "set", NAME, "--percent", "30")
    kgate.ok("canary", "promote", NAME)
    assert file.read_text() == text.replace("upstreams:", more).replace("percent: 5 ", "percent: 30 ")


def test_promote_refuses_an_edit_that_breaks_the_file(kgate: Any, shop_dir: Path) -> None:
    file = Path("gateway.yaml")
    text = file.read_text().replace("percent: 5 ", "percent: &five 5 ")
    file.write_text(
        text.replace("upstreams:", "- {name: menu, url: 'http://menu', retries: *five}\nupstreams:")
    )
    before = file.read_text()
    kgate.ok("canary", "set", NAME, "--percent", "30")
    said = kgate.refused(4, "canary", "promote", NAME)
    assert said == f"canary {NAME}: its config cannot be edited in place; edit the file by hand"
    assert file.read_text() == before


def test_promote_finds_the_file_of_several(kgate: Any, shop_dir: Path) -> None:
    Path("more.yaml").write_text(
        "services:\n- name: menu\n  url: http://menu\n  routes: [{name: menu, paths: [/menu]}]\n"
        "  plugins:\n  - {name: canary-router, config: {name: menu-v2, upstream: cart-v2}} # new\n"
    )
    before = Path("gateway.yaml").read_text()
    kgate.ok("canary", "set", "menu-v2", "--percent", "7", "-f", "more.yaml", "-f", "gateway.yaml")
    kgate.ok("canary", "promote", "menu-v2", "-f", "gateway.yaml", "-f", "more.yaml", "--write")
    assert "{name: menu-v2, upstream: cart-v2, percent: 7}} # new" in Path("more.yaml").read_text()
    assert Path("gateway.yaml").read_text() == before


def test_users_of_a_list(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("list", "import", "-", "--name", "beta", "--kind", "users", stdin="zoe\n")
    kgate.ok("list", "import", "-", "--name", "office", "--kind", "addresses", stdin="203.0.113.7\n")
    set_ = ("canary", "set", NAME, "--users-list")
    assert "'none': there is no such list" in kgate.refused(4, *set_, "none")
    assert "'office': it holds addresses" in kgate.refused(4, *set_, "office")
    assert "not both" in kgate.refused(2, *set_, "beta", "--users", "a")
    assert "users of the list beta" in kgate.ok(*set_, "beta")
    (answer,) = kgate.json("canary", "why", NAME, "--user", "zoe")["answers"]
    assert (answer["rule"], "in the list beta" in answer["why"]) == ("canary_user", True)
    kgate.ok("canary", "promote", NAME)
    text = Path("gateway.yaml").read_text()
    assert 'users_list: "beta"\n' in text
    assert "users: []" in text
    kgate.ok("canary", "set", NAME, "--users", "amy")
    kgate.ok("canary", "promote", NAME)
    assert 'users: ["amy"]' in Path("gateway.yaml").read_text()
    assert "beta" not in Path("gateway.yaml").read_text()


def test_redis_away(kgate: Any, own_redis: Any, shop_dir: Path) -> None:
    own_redis.kill()
    result = kgate("canary", "set", NAME, "--pause", "--redis", own_redis.url)
    assert result.exit_code == 1
    assert own_redis.url in result.stderr
