"""sync, diff, status, drift and rollback against a Kong with a database, on real sockets."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.commands.sync import command as sync
from cli.main import main
from decl.admin import AdminClient
from decl.http import Pool
from decl.kinds import KINDS
from decl.lock import Lease, TagLock
from tests.decl.db_node import DbNode, FaultProxy, fault_proxy
from tests.redis_server import RedisServer

SOURCE = """_format_version: "3.0"
clusters:
  one: {{mode: db, nodes: ["{admin}"], proxy: ["{proxy}"]}}
services:
- name: cart
  url: http://cart
  routes: [{{name: cart, paths: [/cart]}}]
  plugins: [{{name: key-auth, config: {{key_names: [b, a]}}}}]
consumers:
- {{username: kim, keyauth_credentials: [{{name: k, key: !env THE_KEY}}]}}
"""

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def proxy(node: DbNode) -> Iterator[FaultProxy]:
    with fault_proxy(node.admin) as made:
        yield made


@pytest.fixture
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch, node: DbNode, proxy: FaultProxy) -> Path:
    (own_folder / "gateway.yaml").write_text(SOURCE.format(admin=proxy.url, proxy=node.proxy))
    monkeypatch.setenv("KGATE_DEBUG", "1")
    monkeypatch.setenv("THE_KEY", "very-secret")
    return own_folder


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    assert "very-secret" not in result.output
    return result


def edit(old: str, new: str) -> None:
    text = Path("gateway.yaml").read_text()
    assert old in text
    Path("gateway.yaml").write_text(text.replace(old, new))


def writes(proxy: FaultProxy) -> list[str]:
    return [line for line in proxy.log if "upstreams" not in line]  # the lock is one


def test_sync_then_diff_is_empty(folder: Path, node: DbNode, proxy: FaultProxy) -> None:
    shown = kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
    assert "  + service cart  gateway.yaml:5:3\n" in shown
    assert shown.endswith("cluster one: 7 to create, 0 to update, 0 to delete\n")
    assert kgate("sync", "--yes").stdout == f"{proxy.url}: 7 changes made\n"
    assert kgate("diff").stdout == "cluster one: no changes\n"
    count = len(writes(proxy))
    assert kgate("sync", "--yes").stdout == "no changes\n"
    assert len(writes(proxy)) == count
    assert kgate("drift").stdout == "cluster one: no drift\n"
    shown = kgate("status").stdout
    assert "in sync" in shown
    assert "lock" not in shown  # it has ended


def test_what_was_dumped_makes_no_difference(
    folder: Path, node: DbNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    kgate("sync", "--yes")
    kgate("dump", "--out", "dump.yaml")
    text = Path("dump.yaml").read_text()
    assert "kgate" not in text  # the adapter is no part of the source
    assert "very-secret" not in text
    name = re.findall(r"key: !env .?(\w+)", text)[0]
    clusters = Path("gateway.yaml").read_text().partition("services:")[0]
    Path("clusters.yaml").write_text(clusters)
    monkeypatch.setenv(name, "very-secret")
    assert kgate("-f", "dump.yaml", "-f", "clusters.yaml", "diff").stdout == "cluster one: no changes\n"


@pytest.mark.parametrize("select", [(), ("--select-tag", "team-a")])
def test_what_was_dumped_by_tag_is_nobody_elses(folder: Path, node: DbNode, select: tuple[str, ...]) -> None:
    """A part of a database is loaded as that part, and not as all that there is to be."""
    edit('"3.0"', '"3.0"\n_info: {select_tags: [team-a]}')
    kgate("sync", "--yes")
    if select:
        theirs = {
            "id": "0a000000-0000-4000-8000-000000000000",
            "name": "theirs",
            "host": "x",
            "tags": ["team-b"],
        }
        node.store = node.store.having("services", theirs)
    kgate("dump", "--out", "dump.yaml", "--secrets", "clear", *select)
    text = Path("dump.yaml").read_text()
    assert text.count("team-a") == (1 if select else 5)
    clusters = Path("gateway.yaml").read_text().partition("clusters:")[2].partition("services:")[0]
    Path("clusters.yaml").write_text(f'_format_version: "3.0"\nclusters:{clusters}')
    files = ("-f", "dump.yaml", "-f", "clusters.yaml")
    assert CliRunner().invoke(main, [*files, "diff"]).stdout == "cluster one: no changes\n"


def test_which_side_moved(folder: Path, node: DbNode) -> None:
    kgate("sync", "--yes")
    edit("http://cart", "http://basket")
    assert "[the file changed]" in kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
    service = next(iter(node.store.entities["services"].values()))
    node.store = node.store.having("services", {**service, "retries": 1})
    report = kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
    assert "[both sides changed]" in report
    assert '      host: "cart" -> "basket"\n' in report
    assert "      retries: 1 -> 5\n" in report
    edit("http://basket", "http://cart")
    assert "[the live Kong changed]" in kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
    assert kgate("drift", code=exit_codes.DRIFT).stdout.endswith(": drift\n")


def test_diff_as_json_and_markdown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kgate("sync", "--yes")
    edit("key_names: [b, a]", "key_names: [a]")
    monkeypatch.setenv("THE_KEY", "another-very-secret")
    report = json.loads(kgate("diff", "--output", "json", code=exit_codes.CHANGES_PENDING).stdout)
    (found,) = report["nodes"]
    changed = {(change["kind"], change["action"]): change for change in found["changes"]}
    plugin = changed["plugins", "update"]
    assert plugin["fields"] == [{"field": "config.key_names", "old": ["b", "a"], "new": ["a"]}]
    assert (plugin["moved"], plugin["source"]) == ("file", "gateway.yaml:8:13")
    assert (report["changes"], report["mode"], report["version"]) == (True, "db", 1)
    text = kgate("diff", "--output", "markdown", code=exit_codes.CHANGES_PENDING).stdout
    assert text.startswith("### kgate diff: cluster `one`\n")
    assert (
        "| update | plugin `key-auth on service cart` | `config.key_names` | file | `gateway.yaml:8:13` |"
        in text
    )
    assert '- config.key_names: ["b", "a"]\n+ config.key_names: ["a"]\n' in text


def test_a_plan_is_applied_or_refused_as_stale(folder: Path, node: DbNode, proxy: FaultProxy) -> None:
    kgate("diff", "--plan-out", "plan.json", code=exit_codes.CHANGES_PENDING)
    assert "very-secret" not in Path("plan.json").read_text()
    edit("/cart", "/basket")
    stale = kgate("sync", "--plan", "plan.json", "--yes", code=exit_codes.STALE_PLAN)
    assert "stale plan: the files (or a secret that they name) have changed" in stale.stderr
    edit("/basket", "/cart")
    kgate("sync", "--plan", "plan.json", "--yes")
    again = kgate("sync", "--plan", "plan.json", "--yes", code=exit_codes.STALE_PLAN)
    assert "the live state has changed since the plan was made: db" in again.stderr


def test_a_plan_that_somebody_edited(folder: Path) -> None:
    kgate("diff", "--plan-out", "plan.json", code=exit_codes.CHANGES_PENDING)
    Path("plan.json").write_text(Path("plan.json").read_text().replace("create", "delete"))
    assert "changed after it was made" in kgate("sync", "--plan", "plan.json", code=exit_codes.FAILED).stderr


def test_what_is_refused(folder: Path, node: DbNode, proxy: FaultProxy) -> None:
    kgate("sync", "--yes")
    text = Path("gateway.yaml").read_text()
    before = node.state()
    Path("gateway.yaml").write_text(text.partition("services:")[0])
    assert "would empty Kong; say --allow-empty" in kgate("sync", "--yes", code=exit_codes.FAILED).stderr
    refused = kgate("sync", "--yes", "--allow-empty", code=exit_codes.FAILED).stderr
    assert "5 of 7 live entities would be deleted" in refused
    assert "2 are allowed; raise --max-deletes" in refused
    kgate("sync", "--yes", "--allow-empty", "--max-deletes", "4", code=exit_codes.FAILED)
    consumer = next(iter(node.store.entities["consumers"].values()))
    node.store = node.store.having("consumers", {**consumer, "tags": ["kgate-keep"]})
    kept = kgate("sync", "--yes", "--allow-empty", "--max-deletes", "100%", code=exit_codes.FAILED).stderr
    assert "consumer kim would be deleted and has the tag kgate-keep" in kept
    node.store = node.store.having("consumers", consumer)
    assert node.state() == before
    kgate("sync", "--yes", "--allow-empty", "--max-deletes", "5")


@pytest.mark.parametrize("name", ["kim ö/1", "a?b#c", "%41"])
def test_names_of_another_owner_that_no_url_takes(folder: Path, node: DbNode, name: str) -> None:
    edit("username: kim", f"username: {json.dumps(name)}")
    body = json.dumps({"username": name}).encode()
    pool = Pool(node.admin)
    assert pool.request("POST", "/consumers", body, JSON).status == 201
    pool.close()
    report = kgate("sync", "--yes", "--select-tag", "team-b", code=exit_codes.FAILED).stderr
    assert f"consumer {name} belongs to another owner (tags: none)" in report


def test_another_owners_entities_are_left_alone(folder: Path, node: DbNode) -> None:
    kgate("sync", "--yes", "--select-tag", "team-a")
    assert all("team-a" in e["tags"] for items in node.state().values() for e in items.values())
    assert kgate("diff", "--select-tag", "team-a").stdout == "cluster one: no changes\n"
    report = kgate("sync", "--yes", "--select-tag", "team-b", code=exit_codes.FAILED).stderr
    assert "service cart belongs to another owner (tags: team-a)" in report
    service = next(iter(node.store.entities["services"].values()))
    theirs = {"id": "0a000000-0000-4000-8000-000000000000", "name": "cors", "service": {"id": service["id"]}}
    both = node.store
    node.store = both.having(
        "plugins", {**theirs, "route": None, "consumer": None, "config": {}, "tags": ["team-b"]}
    )
    text = Path("gateway.yaml").read_text()
    Path("gateway.yaml").write_text(text.partition("services:")[0])
    refused = kgate("diff", "--select-tag", "team-a", code=exit_codes.CHANGES_PENDING).stdout
    assert "belongs to another owner, and would go with service cart" in refused
    Path("gateway.yaml").write_text(text)
    node.store = both
    edit("name: cart", "name: list")
    edit("consumers:\n- {username: kim, keyauth_credentials: [{name: k, key: !env THE_KEY}]}\n", "")
    kgate("sync", "--yes", "--select-tag", "team-b")  # the adapter, which is the same, is shared
    names = {entity["name"] for entity in node.state()["services"].values()}
    assert names == {"cart", "list"}


def test_tags_are_picked_by_the_server_for_every_kind(folder: Path, node: DbNode, proxy: FaultProxy) -> None:
    """Neither all entities of others are read, nor those of the other one of two tags."""
    edit('"3.0"', '"3.0"\n_info: {select_tags: [team-a]}')
    kgate("sync", "--yes")
    for command in ("diff", "drift", "status"):
        proxy.begin()
        kgate(
            command,
            "--select-tag",
            "money",
            code=exit_codes.DRIFT if command == "drift" else exit_codes.CHANGES_PENDING,
        )
        lists = {path for path in proxy.reads if "?" in path}
        kinds = [kind.path for kind in KINDS.values() if kind.path]
        assert lists == {f"/{kind}?size=1000&tags=team-a,money" for kind in kinds}, command


def test_two_syncs_at_once(folder: Path, node: DbNode, proxy: FaultProxy) -> None:
    """The second one begins while the first one writes."""
    seen: list[int] = []

    def second(number: int, method: str, path: str) -> None:
        if path.startswith("/services") and not seen:
            seen.append(CliRunner().invoke(main, ["sync", "--yes"]).exit_code)

    proxy.begin(second)
    kgate("sync", "--yes")
    assert seen == [exit_codes.LOCK_HELD]
    kgate("sync", "--yes")  # it was given back


def test_a_failure_is_taken_back(
    folder: Path, node: DbNode, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.begin(lambda _, method, path: "refuse" if path.startswith("/key-auths") else None)
    result = kgate("sync", "--yes", code=exit_codes.ROLLED_BACK)
    assert ": rolled back: PUT /key-auths/" in result.stdout
    assert "(gateway.yaml:10:" in result.stdout
    assert not any(node.state().values())
    proxy.begin()
    kgate("sync", "--yes")
    proxy.begin(
        lambda number, method, path: "refuse" if method == "DELETE" and "upstreams" not in path else None
    )
    edit("cart, paths", "new, paths")
    monkeypatch.setenv("THE_KEY", "a-new-very-secret")
    result = kgate("sync", "--yes", "--output", "json", "--max-deletes", "5", code=exit_codes.PARTIAL)
    report = json.loads(result.stdout)
    assert report["result"] == "partial"
    assert [item["kind"] for item in report["left"]]


def test_history_and_rollback(folder: Path, node: DbNode) -> None:
    kgate("sync", "--yes")
    first = node.state()
    edit("http://cart", "http://basket")
    edit("cart, paths: [/cart]", "basket, paths: [/basket]")
    kgate("sync", "--yes")
    second = node.state()
    assert first != second
    kgate("rollback", "--yes")
    assert node.state() == first
    kgate("rollback", "--to", "2", "--yes")
    assert node.state() == second
    rows = json.loads(kgate("rollback", "--list", "--output", "json").stdout)["history"]
    assert [(row["id"], row["result"]) for row in rows] == [(str(n), "changed") for n in (1, 2, 3, 4)]
    assert [row["fence"] for row in rows] == sorted({row["fence"] for row in rows})
    kgate("rollback", "--to", "9", "--yes", code=exit_codes.USAGE)
    assert all(path.stat().st_mode & 0o77 == 0 for path in (folder / "history").iterdir())


def test_history_tells_who_what_and_from_where(
    folder: Path, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGATE_ACTOR", "kim")
    git = ["git", "-c", "user.name=kim", "-c", "user.email=kim@example.com", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "gateway.yaml"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    digests = [json.loads(kgate("sync", "--yes", "--output", "json").stdout)["hash"]]
    edit("http://cart", "http://basket")  # not committed
    proxy.begin(lambda _, method, path: "refuse" if path.startswith("/services") else None)
    refused = kgate("sync", "--yes", "--output", "json", code=exit_codes.FAILED)
    digests.append(json.loads(refused.stdout)["hash"])
    rows = json.loads(kgate("rollback", "--list", "--output", "json").stdout)["history"]
    assert [row["actor"].partition("@")[0] for row in rows] == ["kim", "kim"]
    assert [row["revision"] for row in rows] == [commit, f"{commit}+"]
    assert [row["digest"] for row in rows] == digests
    assert digests[0] != digests[1]
    assert [row["result"] for row in rows] == ["changed", "failed"]


def test_a_changed_plugin_is_written_in_place(folder: Path, node: DbNode, proxy: FaultProxy) -> None:
    """A DELETE and a POST would leave a moment without it."""
    kgate("sync", "--yes")
    before = {key for key, plugin in node.state()["plugins"].items() if plugin["name"] == "key-auth"}
    (plugin,) = before
    edit("key_names: [b, a]", "key_names: [a]")
    proxy.begin()
    kgate("sync", "--yes")
    assert [line.partition("?")[0] for line in writes(proxy)] == [f"PUT /plugins/{plugin}"]
    assert node.state()["plugins"][plugin]["config"]["key_names"] == ["a"]


@pytest.mark.parametrize("workers", ["0", "65", "many"])
def test_how_many_connections(folder: Path, proxy: FaultProxy, workers: str) -> None:
    (option,) = [option for option in sync.params if option.name == "workers"]
    assert 8 <= option.default <= 16
    refused = kgate("sync", "--yes", "--workers", workers, code=exit_codes.USAGE)
    assert "Invalid value for '--workers'" in refused.stderr
    assert proxy.log == []


def test_lock_and_history_in_redis(folder: Path, node: DbNode, redis_server: RedisServer) -> None:
    at = ("--redis", redis_server.url)
    kgate("sync", "--yes", *at)
    assert json.loads(kgate("status", "--output", "json", *at).stdout)["last_applied"]["result"] == "changed"
    assert not (folder / "history").exists()
    assert "upstreams" not in {kind for kind, items in node.store.entities.items() if items}


def test_late_secrets_stay_secret(folder: Path, monkeypatch: pytest.MonkeyPatch, node: DbNode) -> None:
    monkeypatch.setenv("THE_KEY", "very-secret-1")
    kgate("diff", "--plan-out", "plan.json", code=exit_codes.CHANGES_PENDING)
    kgate("sync", "--yes")
    assert [e["key"] for e in node.state()["keyauth_credentials"].values()] == ["very-secret-1"]
    monkeypatch.setenv("THE_KEY", "very-secret-2")
    for output in ("human", "json", "markdown"):
        kgate("diff", "--output", output, code=exit_codes.CHANGES_PENDING)
    kgate("diff", "--plan-out", "plan.json", code=exit_codes.CHANGES_PENDING)
    assert "very-secret" not in Path("plan.json").read_text()


def test_drift_watches(folder: Path, node: DbNode) -> None:
    kgate("sync", "--yes")
    arguments = (
        "drift",
        "--against",
        "applied",
        "--watch",
        "0.1",
        "--count",
        "2",
        "--metrics-file",
        "kgate.prom",
    )
    assert kgate(*arguments).stdout.count("no drift") == 2
    assert 'kgate_drift{cluster="one"} 0\n' in Path("kgate.prom").read_text()
    node.store = node.store.without("consumers", next(iter(node.store.entities["consumers"])))
    kgate(*arguments, code=exit_codes.DRIFT)
    assert 'kgate_drift{cluster="one"} 1\n' in Path("kgate.prom").read_text()


def test_without_its_lock_nothing_is_written(folder: Path, node: DbNode) -> None:
    result: Any = CliRunner().invoke(main, ["sync", "--yes", "--redis", "unix:///nowhere"])
    assert result.exit_code == exit_codes.FAILED
    assert not any(node.state().values())


def test_a_password_that_kong_hashed_stays(folder: Path, node: DbNode) -> None:
    edit(
        "keyauth_credentials: [{name: k, key: !env THE_KEY}]",
        "basicauth_credentials: [{username: k, password: !env THE_KEY}]",
    )
    kgate("sync", "--yes")
    assert kgate("diff").stdout == "cluster one: no changes\n"
    before = node.state()
    (credential,) = before["basicauth_credentials"].values()
    assert len(credential["password"]) == 40
    edit("http://cart", "http://basket")
    kgate("sync", "--yes")
    kgate("rollback", "--yes")
    assert node.state() == before


def test_two_that_swap_a_unique_name_are_named(folder: Path, node: DbNode) -> None:
    """Kong takes no such swap, one write at a time; nothing is left of the rest either."""
    edit("consumers:", 'consumers:\n- {username: a, custom_id: "1"}\n- {username: b, custom_id: "2"}')
    kgate("sync", "--yes")
    before = node.state()
    for old, new in (('"1"', '"x"'), ('"2"', '"1"'), ('"x"', '"2"'), ("http://cart", "http://basket")):
        edit(old, new)
    told = kgate("sync", "--yes", code=exit_codes.ROLLED_BACK).stdout
    assert "consumer a, consumer b wait for one another" in told
    assert "give one another name first" in told
    assert node.state() == before


def test_each_owner_has_a_history(folder: Path, node: DbNode) -> None:
    """Two owners share a database: what one of them applied is nothing that the other one can take back."""
    first = Path("gateway.yaml").read_text()
    other = first.partition("services:")[0] + "services: [{name: list, url: http://list}]\n"
    kgate("sync", "--yes", "--select-tag", "team-a")
    Path("gateway.yaml").write_text(other)
    kgate("sync", "--yes", "--select-tag", "team-b")
    edit("http://list", "http://list2")
    kgate("sync", "--yes", "--select-tag", "team-b")
    Path("gateway.yaml").write_text(first)
    edit("http://cart", "http://basket")
    assert (
        "[the file changed]"
        in kgate("diff", "--select-tag", "team-a", code=exit_codes.CHANGES_PENDING).stdout
    )
    kgate("sync", "--yes", "--select-tag", "team-a")
    Path("gateway.yaml").write_text(other)
    before = node.state()
    kgate("rollback", "--yes", "--select-tag", "team-b")
    hosts = {service["name"]: service["host"] for service in node.state()["services"].values()}
    assert hosts == {"cart": "basket", "list": "list"}
    assert node.state()["routes"] == before["routes"]
    shown = kgate("rollback", "--list", "--select-tag", "team-b").stdout
    assert shown.count("(tags team-a)") == 2
    refused = kgate("rollback", "--yes", "--to", "1", "--select-tag", "team-b", code=exit_codes.USAGE).stderr
    assert "apply 1 was of tags team-a" in refused


@pytest.mark.parametrize("finished", [False, True])
def test_an_apply_that_was_killed_is_seen_and_taken_back(
    folder: Path, node: DbNode, proxy: FaultProxy, finished: bool
) -> None:
    kgate("sync", "--yes")
    before = node.state()
    edit("cart, paths: [/cart]", "basket, paths: [/basket]")
    edit("http://cart", "http://basket")
    from cli import sync_run

    def die(*_: object, **__: object) -> None:
        raise SystemExit(137)

    original = sync_run.apply
    half = lambda changes, *rest, **more: (original(changes[:2], *rest, **more), die())  # noqa: E731
    try:
        sync_run.apply = half  # type: ignore[assignment]
        CliRunner().invoke(main, ["sync", "--yes"])
    finally:
        sync_run.apply = original
    assert node.state() != before
    node.forget_lock()
    assert "apply 2 was interrupted" in kgate("status", code=exit_codes.CHANGES_PENDING).stdout
    if finished:  # by the next run: half of an apply is nothing to go back to
        kgate("sync", "--yes")
    kgate("rollback", "--yes")
    assert node.state() == before


def test_the_first_node_is_away(folder: Path, node: DbNode, proxy: FaultProxy) -> None:
    edit(f'nodes: ["{proxy.url}"]', f'nodes: ["http://127.0.0.1:9", "{proxy.url}"]')
    assert kgate("sync", "--yes").stdout == f"{proxy.url}: 7 changes made\n"
    assert "http://127.0.0.1:9: is away: Connection refused" in kgate("diff").stdout
    assert kgate("sync", "--yes").stdout == "no changes\n"
    told = kgate("status", code=exit_codes.FAILED).stdout
    assert "http://127.0.0.1:9: away: is away: Connection refused" in told
    assert f"{proxy.url}: in sync" in told


def test_entities_without_a_name_are_dumped_by_their_ids(folder: Path, node: DbNode) -> None:
    """Other tools and people make them: kgate takes them over as they are."""
    pool = Pool(node.admin)
    service = pool.request("POST", "/services", b'{"host": "a.b"}', JSON).fields()["id"]
    body = json.dumps({"service": {"id": service}, "paths": ["/x"]}).encode()
    route = pool.request("POST", "/routes", body, JSON).fields()["id"]
    body = json.dumps({"name": "cors", "route": {"id": route}}).encode()
    assert pool.request("POST", "/plugins", body, JSON).status == 201
    pool.close()
    kgate("dump", "--node", node.admin, "-o", "dump.yaml")
    plan = json.loads(
        kgate(
            "-f",
            "dump.yaml",
            "diff",
            "--node",
            node.admin,
            "--output",
            "json",
            code=exit_codes.CHANGES_PENDING,
        ).stdout
    )
    (found,) = plan["nodes"]
    assert {change["name"] for change in found["changes"]} == {"kgate", "kgate-facts"}


def test_status_names_who_holds_the_lock(folder: Path, node: DbNode) -> None:
    kgate("sync", "--yes")
    with AdminClient(node.admin) as client, Lease(TagLock(client), "kim@ci"):
        assert re.search(r"lock: kim@ci, for \d+ s at most", kgate("status").stdout)
        assert "kim@ci" in kgate("sync", "--yes", code=exit_codes.LOCK_HELD).stderr
    assert "lock" not in kgate("status").stdout
