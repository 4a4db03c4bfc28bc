"""kgate lint: several forms at once, stdin, --env, --fix, --explain, settings, the control state."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from decl.lint import RULES
from kong_plugins.state.open import open_store
from kong_plugins.state.operations import blocks, canaries
from tests.redis_server import RedisServer

RUN = CliRunner()
HEAD = '_format_version: "3.0"\n'
UNUSED = HEAD + 'upstreams: [{name: u, targets: [{target: "a:1"}]}]\n'


@pytest.fixture
def lint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def run(*args: str, stdin: str | None = None) -> Result:
        return RUN.invoke(main, ["lint", *args], input=stdin)

    return run


def test_several_forms_at_once(lint: Callable[..., Result]) -> None:
    Path("gateway.yaml").write_text(UNUSED)
    result = lint("--output", "parsable", "--output", "sarif=a.sarif", "--output", "junit=a.xml")
    assert result.exit_code == 0
    assert result.stdout.startswith("gateway.yaml:2:13: [warning] no service")
    assert json.loads(Path("a.sarif").read_text())["runs"][0]["results"][0]["ruleId"] == "unused-upstream"
    assert Path("a.xml").read_text().startswith("<?xml")


@pytest.mark.parametrize("form", ["xml", "json=", ""])
def test_a_form_that_is_none(lint: Callable[..., Result], form: str) -> None:
    result = lint("--output", form)
    assert result.exit_code == exit_codes.USAGE


def test_stdin(lint: Callable[..., Result]) -> None:
    result = lint("-f", "-", "--output", "parsable", stdin=UNUSED)
    assert result.stdout.startswith("<stdin>:2:13: [warning]")


@pytest.mark.parametrize("name", ["", " ", "a\0b"])
def test_an_empty_name_is_not_the_working_directory(lint: Callable[..., Result], name: str) -> None:
    Path("gateway.yaml").write_text(UNUSED)
    result = lint("-f", name)
    assert result.exit_code == exit_codes.USAGE
    assert "a file name is needed" in result.stderr


def test_warnings_count_where_that_is_wanted(lint: Callable[..., Result]) -> None:
    Path("gateway.yaml").write_text(UNUSED)
    assert lint().exit_code == 0
    assert lint("--strict").exit_code == exit_codes.FINDINGS
    Path(".kgate.yaml").write_text("fail_on: warning\n")
    assert lint().exit_code == exit_codes.FINDINGS
    Path(".kgate.yaml").write_text("fail_on: warning\nrules: {unused-upstream: off}\n")
    assert lint().exit_code == 0
    Path(".kgate.yaml").write_text("ignore: ['gate*.yaml']\nfail_on: warning\n")
    assert lint().exit_code == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("rules: {no-such: off}", "rules.no-such: not known"),
        ("rules: {unused-upstream: loud}", "rules.unused-upstream: 'loud' is no level"),
        ("rules: {retry-budget: {seconds: many}}", "rules.retry-budget.seconds: expected int, found str"),
        ("rules: {retry-budget: {minutes: 1}}", "rules.retry-budget.minutes: not known; known are defaults"),
        ("fail_on: info", "fail_on: expected error or warning"),
        ("colour: red", "colour: not known"),
        ("env_prefixes: A_", "env_prefixes: expected a list of texts"),
        ("schemas: nowhere", "nowhere: no schemas here; kgate schema pull writes them"),
        ("a: [", "yaml-syntax"),
    ],
)
def test_settings_that_are_wrong(lint: Callable[..., Result], settings: str, message: str) -> None:
    Path("gateway.yaml").write_text(UNUSED)
    Path(".kgate.yaml").write_text(settings + "\n")
    result = lint()
    assert result.exit_code == exit_codes.USAGE
    assert message in result.stderr


def test_an_overlay_is_read_when_it_is_asked_for(lint: Callable[..., Result]) -> None:
    Path("envs/prod").mkdir(parents=True)
    Path("gateway.yaml").write_text(HEAD + 'services: [{name: a, url: "http://a"}]\n')
    Path("envs/prod/over.yaml").write_text("services: [{name: a, port: 99999}]\n")
    assert lint("-f", ".").exit_code == 0
    assert lint().exit_code == 0
    result = lint("--env", "prod")
    assert result.exit_code == exit_codes.FINDINGS
    assert "envs/prod/over.yaml:1:28: error[wrong-value]" in result.stdout
    for env, message in (
        ("test", "no folder envs/test"),
        ("../x", "the name of a folder"),
        ("", "the name of"),
    ):
        result = lint("--env", env)
        assert result.exit_code == exit_codes.USAGE
        assert message in result.stderr


def test_hidden_files_are_no_gateway_files(lint: Callable[..., Result]) -> None:
    Path(".kgate/schemas").mkdir(parents=True)
    Path(".kgate/schemas/x.json").write_text('{"fields": []}')
    Path(".kgate.yaml").write_text("fail_on: error\n")
    Path("gateway.yaml").write_text(HEAD)
    assert lint("-f", ".").stdout == "no findings\n"


FIXABLE = """_format_version: "3.0"   # a comment that stays
services:
- name: a
  url: http://a
  routes:
  - {name: a, hosts: [Shop.Example., 'B.example'], paths: ['/users/\\d+$']}  # here too
  plugins:
  - name: static-fallback
    config: {responses: [{on: [502], body: x}]}
  - {name: passport, config: {issuers: [m], fail: "open"}}
issuers:
- {name: m, iss: x, jwks_url: "http://a/jwks", audiences: [b]}
"""


def test_fix(lint: Callable[..., Result]) -> None:
    Path("gateway.yaml").write_text(FIXABLE)
    result = lint("--fix", "--output", "parsable")
    assert "fixed yaml-on-key" in result.stderr
    assert Path("gateway.yaml").read_text() == (
        FIXABLE.replace("on: [502]", '"on": [502]')
        .replace('"open"', '"closed"')
        .replace("'/users/\\d+$'", '"~/users/\\\\d+$"')
        .replace("Shop.Example.", "shop.example")
        .replace("'B.example'", "'b.example'")
    )
    assert "host-trailing-dot" not in result.stdout  # the second repair of one value
    assert "fixed" not in lint("--fix").stderr


def test_fix_keeps_all_else(lint: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors, tags, comments, line ends, a byte order mark, wide characters; the file's mode, and a link to it."""
    text = """_format_version: "3.0"
services:
- name: a # \u65e5\u672c \U0001f600
  url: "http://a"
  routes:
  - {name: r, hosts: [&h "A.Example", *h, &i !!str "C.Example"], paths: [/\U0001f600]}
  - name: s
    hosts:
    - &j
      D.example # on its own line
    - # before it
      E.example
    - F.example # kgate disable-line
"""
    text = "\ufeff" + text.replace("\n", "\r\n")
    Path("real.yaml").write_bytes(text.encode())
    Path("real.yaml").chmod(0o640)
    Path("gateway.yaml").symlink_to("real.yaml")
    result = lint("--fix")
    assert result.exit_code == 0, result.output
    for host in ("A.Example", "C.Example", "D.example", "E.example"):
        text = text.replace(host, host.lower())
    assert Path("real.yaml").read_bytes().decode() == text
    assert Path("real.yaml").stat().st_mode & 0o777 == 0o640
    assert Path("gateway.yaml").is_symlink()
    assert sorted(os.listdir()) == ["gateway.yaml", "real.yaml"]


def test_fix_leaves_the_old_file_when_it_cannot_write(
    lint: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("gateway.yaml").write_text(FIXABLE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = lint("--fix")
    assert result.exit_code == exit_codes.FAILED
    assert "cannot write gateway.yaml: No space left on device" in result.stderr
    assert Path("gateway.yaml").read_text() == FIXABLE
    assert os.listdir() == ["gateway.yaml"]


def test_explain(lint: Callable[..., Result]) -> None:
    result = lint("--explain", "retry-budget")
    assert result.exit_code == 0
    for part in ("retry-budget (warning)", "Why: ", "PASS:", "FAIL:", "seconds: 120, defaults: false"):
        assert part in result.stdout
    assert len(lint("--explain", "all").stdout.splitlines()) == len(RULES)
    assert lint("--explain", "nope").exit_code == exit_codes.USAGE


def test_the_control_state(lint: Callable[..., Result], own_redis: RedisServer) -> None:
    Path("gateway.yaml").write_text(
        HEAD + 'upstreams: [{name: v2, targets: [{target: "a:1"}]}]\nservices:\n- name: a\n  url: http://a\n'
        "  plugins: [{name: canary-router, config: {name: c1, upstream: v2}}]\n"
    )
    store = open_store(own_redis.url)
    try:
        canaries.update(store, "c1", {"percent": 5.0}, actor="t")
        blocks.add(store, "203.0.113.7", actor="t")
        blocks.add(store, "203.0.113.8", actor="t", ttl=60)
    finally:
        store.close()
    later = time.time() + 1000

    os.utime("gateway.yaml", (later, later))
    result = lint("--redis", own_redis.url, "--output", "parsable")
    assert "gateway.yaml:6:43: [warning] the override of canary 'c1' is older and wins" in result.stdout
    assert "blocks without an end: 203.0.113.7; set them again" in result.stdout
    os.utime("gateway.yaml", (1, 1))
    assert "override" not in lint("--redis", own_redis.url, "--output", "parsable").stdout


def test_fix_leaves_blocks_and_the_environment_alone(
    lint: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block's end is the next line's beginning, and a value of the environment must not come into the file."""
    monkeypatch.setenv("SHOP_HOST", "Secret-Shop.example")
    text = (
        '_format_version: "3.0"\nservices:\n- name: a\n  url: http://a\n  routes:\n  - name: r\n'
        '    hosts: ["${{ env "SHOP_HOST" }}"]\n    paths:\n    - >-\n      /folded/\\d+\n    - |\n      /kept/\\d+\n'
        "    - /plain/\\d+\n"
    )
    Path("gateway.yaml").write_text(text)
    result = lint("--fix", "--output", "parsable")
    assert Path("gateway.yaml").read_text() == text.replace("/plain/\\d+", '"~/plain/\\\\d+"')
    assert "host-not-lower-case" in result.stdout
    assert "secret-shop" not in result.output.lower()
    assert all(line.startswith("gateway.yaml:") for line in result.stdout.splitlines())


def test_validate_tells_what_stock_kong_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        '_format_version: "3.0"\nconsumer_groups: [{name: gold}]\n'
        "services: [{name: a, url: http://a, routes: [{name: r, paths: ['~/(?!b)']}]}]\n"
    )
    Path("gateway.yaml").write_text(text)
    run = lambda *args: CliRunner().invoke(main, ["validate", "--output", "parsable", *args])  # noqa: E731
    found = run()
    assert found.exit_code == exit_codes.FINDINGS
    assert re.findall(r"\((\S+)\)$", found.stdout, re.MULTILINE) == ["enterprise-entity", "router-regex"]
    Path(".kgate.yaml").write_text("rules: {enterprise-entity: off, router-regex: off}\n")
    assert run().exit_code == exit_codes.OK
    Path("gateway.yaml").write_text('_format_version: "3.0"\n_konnect: {}\npartials: []\n')
    said = run().stdout
    assert "'_konnect': it is about Konnect" in said
    assert "'partials': stock Kong has none" in said
