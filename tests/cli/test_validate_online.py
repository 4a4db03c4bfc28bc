"""validate --online: what a node refuses comes back with its place in the files. The answers are Kong 3.9.3's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from tests.decl.admin_stub import AdminStub, Answer, Seen, admin_stub
from tests.decl.db_node import DbNode

SOURCE = """_format_version: "3.0"
clusters:
  one: {{mode: {mode}, nodes: ["{url}"]}}
services:
- name: cart
  host: cart
  port: 8080
  tags: [a, b]
  routes:
  - name: cart
    paths:
    - /cart
    - ~/cart/\\d+
  - {{name: list, paths: [/list]}}
  plugins:
  - name: cors
    config:
      methods: [GET, POST]
routes:
- {{name: alone, paths: [/alone], service: cart}}
upstreams:
- name: cart
  healthchecks:
    active:
      healthy: {{interval: 5, http_statuses: [200, 302]}}
  targets:
  - target: 127.0.0.1:9
    weight: 100
consumers:
- username: kim
  keyauth_credentials: [{{name: k, key: !env THE_KEY}}]
"""

Refuse = dict[tuple[str, str], Answer]


def fields(**found: Any) -> Answer:
    """Kong's answer to an entity that breaks its schema."""
    entity = found.pop("entity", None)
    told = {**found, **({"@entity": entity} if entity else {})}
    return Answer(400, {"code": 2, "name": "schema violation", "message": "...", "fields": told})


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AdminStub]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THE_KEY", "very-secret")
    with admin_stub() as made:
        yield made


@pytest.fixture(params=["dbless", "db"])
def ask(stub: AdminStub, request: pytest.FixtureRequest) -> Callable[..., tuple[Result, list[Seen]]]:
    """Runs it on a node that refuses what is named by kind and name; the result, and what was asked."""

    def run(refuse: Refuse, *options: str) -> tuple[Result, list[Seen]]:
        asked: list[Seen] = []

        def answer(seen: Seen) -> Answer:
            asked.append(seen)
            entity = json.loads(seen.body)
            name = next((entity[key] for key in ("name", "username", "target", "key") if key in entity), "")
            refused = refuse.get((seen.path.split("/")[2], name))
            return refused or Answer(200, {"message": "schema validation successful"})

        stub.answer = answer  # type: ignore[method-assign]
        Path("gateway.yaml").write_text(SOURCE.format(url=stub.url, mode=request.param))
        result = CliRunner().invoke(main, ["validate", "--online", *options])
        assert "very-secret" not in result.output
        return result, asked

    return run


def test_every_entity_is_asked_for(ask: Callable[..., tuple[Result, list[Seen]]]) -> None:
    result, asked = ask({})
    assert result.exit_code == exit_codes.OK, result.output
    assert {seen.method for seen in asked} == {"POST"}
    kinds = sorted(re.fullmatch(r"/schemas/(\w+)/validate", seen.path)[1] for seen in asked)  # type: ignore[index]
    several = ["plugins", "routes"] * 3
    assert kinds == sorted(["services", "upstreams", "targets", "consumers", "keyauth_credentials", *several])


@pytest.mark.parametrize(
    ("kind", "name", "refused", "place", "message"),
    [
        ("services", "cart", fields(port="value should be between 0 and 65535"), "7:9", "port: value should"),
        ("services", "cart", fields(tags=[None, "invalid tag 'b'"]), "8:13", "tags.1: invalid tag 'b'"),
        ("services", "cart", fields(retries="expected an integer"), "5:3", "retries: expected"),  # not there
        ("routes", "cart", fields(paths=[None, "invalid regex: '/cart'"]), "13:7", "paths.1: invalid regex"),
        (
            "routes",
            "cart",
            fields(entity=["must set one of 'methods'"]),
            "10:5",
            "route 'cart': must set one",
        ),
        ("routes", "list", fields(paths=["should start with: /"]), "14:26", "paths.0: should start"),
        ("routes", "alone", fields(paths=["should start with: /"]), "20:25", "paths.0: should start"),
        (
            "plugins",
            "cors",
            fields(config={"methods": [None, "expected one of: GET"]}),
            "18:22",
            "config.methods.1: expected one of",
        ),
        (
            "upstreams",
            "cart",
            fields(healthchecks={"active": {"healthy": {"http_statuses": [None, "between 100 and 999"]}}}),
            "25:51",
            "healthchecks.active.healthy.http_statuses.1: between 100",
        ),
        ("targets", "127.0.0.1:9", fields(weight="value should be between 0 and 65535"), "28:13", "weight: "),
        ("consumers", "kim", fields(entity="is refused"), "30:3", "consumer 'kim': is refused"),
        ("keyauth_credentials", "very-secret", fields(key="no 'very-secret'"), "31:40", "key: no '[masked]'"),
    ],
)
def test_an_error_has_its_place(
    ask: Callable[..., tuple[Result, list[Seen]]],
    kind: str,
    name: str,
    refused: Answer,
    place: str,
    message: str,
) -> None:
    result, _ = ask({(kind, name): refused}, "--output", "parsable")
    assert result.exit_code == exit_codes.FINDINGS, result.output
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"gateway.yaml:{place}: [error] ")
    assert message in line
    assert line.endswith("(kong)")


def test_several_errors_of_several_entities(ask: Callable[..., tuple[Result, list[Seen]]]) -> None:
    two = fields(port="no port", entity=["one thing", "another"])
    result, _ = ask(
        {("services", "cart"): two, ("routes", "list"): fields(paths=["bad"])}, "--output", "json"
    )
    found = [(item["line"], item["message"]) for item in json.loads(result.stdout)["findings"]]
    assert sorted(found) == [
        (5, "service 'cart': another"),
        (5, "service 'cart': one thing"),
        (7, "service 'cart': port: no port"),
        (14, "route 'list': paths.0: bad"),
    ]
    human, _ = ask({("routes", "list"): fields(paths=["bad"])})
    assert "gateway.yaml:14:26: error[kong]: route 'list': paths.0: bad\n" in human.stdout
    assert (
        "   14 |   - {name: list, paths: [/list]}\n      |                          ^^^^^\n" in human.stdout
    )


def test_what_the_node_does_not_know_or_dies_of_is_a_finding(
    ask: Callable[..., tuple[Result, list[Seen]]],
) -> None:
    """Kong 3.9.3 answers 500 to rate-limiting with `policy: redis` and no redis."""
    unknown = Answer(404, {"message": "No entity named 'keyauth_credentials'"})
    broken = Answer(500, {"message": "An unexpected error occurred"})
    refuse = {("keyauth_credentials", "very-secret"): unknown, ("plugins", "cors"): broken}
    result, _ = ask(refuse, "--output", "parsable")
    assert result.exit_code == exit_codes.FINDINGS
    first, second = result.stdout.splitlines()
    assert first.startswith("gateway.yaml:16:5: [error] plugin 'cors': the node fails on it (HTTP 500)")
    assert second.startswith("gateway.yaml:31:")
    assert "No entity named 'keyauth_credentials'" in second


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401, {"message": "Unauthorized"}), "refused access (HTTP 401)"),
        (Answer(403, "<html>"), "refused access (HTTP 403)"),
        (Answer(404, "<html>"), "does not have that (HTTP 404)"),
        (Answer(200, "<html>hello"), "does not answer as Kong's Admin API does"),
        (
            Answer(400, "<html><title>400 No required SSL certificate was sent</title>"),
            "wants a client certificate that it trusts (HTTP 400); set the cluster's admin.client_cert",
        ),
        (Answer(400, "<html>"), "answered HTTP 400"),
    ],
)
def test_a_node_that_cannot_be_asked_is_no_approval(
    ask: Callable[..., tuple[Result, list[Seen]]], answer: Answer, said: str
) -> None:
    result, _ = ask({("services", "cart"): answer})
    assert result.exit_code == exit_codes.FAILED, result.output
    assert said in result.stderr


def test_a_busy_node_is_waited_for(ask: Callable[..., tuple[Result, list[Seen]]]) -> None:
    busy = Answer(429, {"message": "busy"}, (("Retry-After", "0"),))
    refuse = {("services", "cart"): busy}

    class Once(dict[tuple[str, str], Answer]):
        def get(self, key: Any, default: Any = None) -> Any:
            return self.pop(key, default)

    result, asked = ask(Once(refuse))
    assert result.exit_code == exit_codes.OK, result.output
    assert sum("/services/" in seen.path for seen in asked) == 2


def test_a_real_node_with_a_database(node: DbNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THE_KEY", "very-secret")
    text = SOURCE.format(url=node.admin, mode="db")
    Path("gateway.yaml").write_text(text)
    assert CliRunner().invoke(main, ["validate", "--online"]).exit_code == exit_codes.OK
    Path("gateway.yaml").write_text(text.replace("name: cors", "name: of-nobody"))
    result = CliRunner().invoke(main, ["validate", "--online", "--output", "parsable"])
    assert result.exit_code == exit_codes.FINDINGS, result.output
    assert result.stdout.startswith(
        "gateway.yaml:16:11: [error] plugin 'of-nobody': name: plugin 'of-nobody' not"
    )
    assert not any(node.state().values())
