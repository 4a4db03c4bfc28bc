"""A node without the adapter gets it before the routes that need it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from decl.admin import AdminClient, AdminError
from decl.apply import EMPTY_CONFIG, NodeResult, Patience, push
from decl.apply_db import StoppedError
from decl.guard_first import SETTLE_SECONDS, GuardFirst
from decl.load import Text
from decl.probe import expected_hash
from decl.project import Project, open_project
from decl.render import Rendered, render
from tests.decl.admin_stub import EMPTY, AdminStub, Answer, admin_stub

OPEN = b"""_format_version: "3.0"
services:
- {name: cart, url: "http://cart", routes: [{name: cart, paths: [/cart]}]}
"""
PROTECTED = b"""_format_version: "3.0"
issuers:
- {name: main, iss: "https://a.example", jwks_url: "https://a.example/jwks", audiences: [shop]}
services:
- name: cart
  url: http://cart
  routes:
  - {name: cart, paths: [/cart], plugins: [{name: passport, config: {issuers: [main]}}]}
"""
FOREIGN = {
    "_format_version": "3.0",
    "_transform": False,
    "services": [{"id": "1", "name": "other", "host": "o", "tags": ["2026-11-30", "=", "<<"]}],
    "plugins": [{"id": "2", "name": "cors", "config": {}}],
}
QUICK = Patience(busy=2.0, live=0.3, poll=0.01)


def opened(text: bytes) -> tuple[Project, Rendered]:
    project = open_project([Text("gateway.yaml", text)], {})
    assert project.gateway is not None
    return project, render(project.gateway, "default")


@pytest.fixture
def stub() -> Iterator[AdminStub]:
    with admin_stub() as stub:
        yield stub


class Pushed:
    """One push to one node, whose waits are noted with how many configs it had got by then."""

    def __init__(self, stub: AdminStub, text: bytes = PROTECTED, **options: Any) -> None:
        self.project, self.rendered = opened(text)
        self.waits: list[tuple[int, float]] = []
        guard = GuardFirst(
            self.rendered.document, sleep=lambda seconds: self.waits.append((len(stub.posts), seconds))
        )
        with AdminClient(stub.url) as client:
            results = push(
                [client],
                self.rendered,
                self.project.sources,
                QUICK,
                guard=options.pop("guard", guard),
                **options,
            )
        self.result: NodeResult = results[0]
        self.bodies = [yaml.safe_load(post.body) for post in stub.posts]


def names(document: dict[str, Any]) -> list[str]:
    return [plugin["name"] for plugin in document.get("plugins", ())]


def test_an_empty_node_gets_the_adapter_alone_and_then_the_config(stub: AdminStub) -> None:
    pushed = Pushed(stub)
    assert pushed.result.state == "changed"
    adapter, config = pushed.bodies
    assert sorted(adapter) == ["_format_version", "plugins"]
    assert names(adapter) == ["kgate-facts", "kgate"]
    assert config == pushed.rendered.document
    assert all(plugin in config["plugins"] for plugin in adapter["plugins"]), "the same ones, with their ids"
    assert pushed.waits == [(1, SETTLE_SECONDS)], "in between its workers take it"


def test_what_another_config_serves_goes_on_with_the_adapter(stub: AdminStub) -> None:
    stub.hash, stub.config = "theirs", FOREIGN
    pushed = Pushed(stub)
    assert pushed.result.state == "changed"
    first, config = pushed.bodies
    assert names(first) == ["cors", "kgate-facts", "kgate"]
    assert {**first, "plugins": FOREIGN["plugins"]} == FOREIGN
    assert config == pushed.rendered.document


@pytest.mark.parametrize(
    ("plugin", "first"),
    [
        ({"name": "kgate", "enabled": True}, None),
        ({"name": "kgate"}, None),
        ({"name": "kgate", "enabled": False}, ["kgate-facts", "kgate"]),
        ({"name": "kgate-facts"}, ["kgate-facts", "kgate"]),
        ({"name": "kgate", "route": {"id": "3"}}, ["kgate", "kgate-facts", "kgate"]),
        ({"name": "passport"}, ["passport", "kgate-facts", "kgate"]),
    ],
)
def test_a_node_with_the_adapter_gets_the_config_at_once(
    stub: AdminStub, plugin: dict[str, Any], first: list[str] | None
) -> None:
    stub.hash, stub.config = "before", {"plugins": [{"id": "2", **plugin}]}
    pushed = Pushed(stub)
    assert pushed.result.state == "changed"
    assert [names(body) for body in pushed.bodies[:-1]] == ([] if first is None else [first])
    assert pushed.bodies[-1] == pushed.rendered.document


def test_where_a_passport_is_optional_too(stub: AdminStub) -> None:
    """Nobody would take a forged one from the request."""
    text = PROTECTED.replace(b"issuers: [main]}", b"issuers: [main], mode: optional}")
    pushed = Pushed(stub, text)
    assert "kgate-protected" not in str(pushed.rendered.document)
    assert [names(body)[-2:] for body in pushed.bodies] == [["kgate-facts", "kgate"]] * 2


def test_a_config_of_others_has_no_adapter_to_come_first(stub: AdminStub) -> None:
    """A rollback to what somebody pushed by other means."""
    project, rendered = opened(PROTECTED)
    document = {**rendered.document, "plugins": []}
    assert not GuardFirst(document).needed()
    with AdminClient(stub.url) as client:
        theirs = rendered._replace(document=document)
        results = push([client], theirs, project.sources, QUICK, guard=GuardFirst(document))
    assert (results[0].state, len(stub.posts)) == ("changed", 1)


def test_a_config_without_a_passport_needs_no_step_before(stub: AdminStub) -> None:
    pushed = Pushed(stub, OPEN)
    assert (pushed.result.state, len(pushed.bodies), pushed.waits) == ("changed", 1, [])


def test_a_node_that_has_the_config_is_left_alone(stub: AdminStub) -> None:
    stub.hash = opened(PROTECTED)[1].hash
    assert (Pushed(stub).result.state, stub.posts) == ("unchanged", [])


def test_numbers_are_read_as_kong_writes_them(stub: AdminStub) -> None:
    stub.hash, stub.config = "theirs", FOREIGN
    text = "plugins:\n- {name: o, config: {a: 5e-05, b: 1e+15, c: '1e3', d: 1.5}}\n"
    real = stub.answer
    told = Answer(200, {"config": text})
    stub.answer = lambda seen: told if (seen.method, seen.path) == ("GET", "/config") else real(seen)  # type: ignore[method-assign]
    Pushed(stub)
    first = json.loads(stub.posts[0].body)
    assert first["plugins"][0]["config"] == {"a": 5e-05, "b": 1e15, "c": "1e3", "d": 1.5}


def test_a_lock_that_was_lost_meanwhile_ends_it(stub: AdminStub) -> None:
    def check() -> None:
        if stub.posts:
            raise StoppedError("the lock is another's")

    pushed = Pushed(stub, last_good=last_good, check=check)
    assert pushed.result.state == "failed"
    assert "the lock is another's" in pushed.result.reason
    assert not any(b"/cart" in post.body for post in stub.posts)


# -- when it goes wrong ---------------------------------------------------------------------------------------


def refusing(stub: AdminStub, word: bytes) -> None:
    """Its answer to configs with this word is 400."""
    stub.on_post = lambda seen: Answer(400, {"message": "no"}) if word in seen.body else None


def last_good(node: object, held: str) -> bytes:
    assert held == "theirs"
    return yaml.safe_dump(FOREIGN).encode()


def test_a_refused_adapter_changes_nothing(stub: AdminStub) -> None:
    refusing(stub, b"kgate")
    pushed = Pushed(stub, last_good=last_good)
    assert (pushed.result.state, stub.hash) == ("failed", EMPTY)
    assert "no" in pushed.result.reason
    assert len([post for post in stub.posts if b"/cart" in post.body]) == 0


@pytest.mark.parametrize("held", [EMPTY, "theirs"])
def test_a_refused_config_takes_the_adapter_with_it(stub: AdminStub, held: str) -> None:
    stub.hash, stub.config = held, FOREIGN
    refusing(stub, b"/cart")
    pushed = Pushed(stub, last_good=last_good)
    assert pushed.result.state == "failed"
    assert pushed.result.reason.startswith("refused the config")
    expected = EMPTY_CONFIG if held == EMPTY else last_good(None, held)
    assert stub.posts[-1].body == expected


def test_a_node_that_cannot_be_given_back_its_own_says_so(stub: AdminStub) -> None:
    refusing(stub, b"/cart")
    refused = stub.on_post
    stub.on_post = lambda seen: Answer(403, "") if seen.body == EMPTY_CONFIG else refused(seen)
    result = Pushed(stub, last_good=last_good).result
    assert result.state == "unknown", "it has the adapter"
    assert result.reason.startswith("refused the config")
    assert "its old config could not be brought back: refused access" in result.reason


@pytest.mark.parametrize(
    "exported", [Answer(200, {"config": "["}), Answer(200, {"config": "- a"}), Answer(500)]
)
def test_a_config_that_cannot_be_read_is_left_as_it_is(stub: AdminStub, exported: Answer) -> None:
    stub.hash, stub.config = "theirs", FOREIGN
    real = stub.answer
    stub.answer = lambda seen: exported if (seen.method, seen.path) == ("GET", "/config") else real(seen)  # type: ignore[method-assign]
    result = Pushed(stub).result
    assert (result.state, stub.posts) == ("failed", [])
    assert result.reason


def test_workers_that_do_not_show_the_adapter_get_no_route(stub: AdminStub) -> None:
    _, rendered = opened(PROTECTED)

    class Late(GuardFirst):
        def wait(self, node: str) -> None:
            raise AdminError(node, "no adapter answers")

    pushed = Pushed(stub, last_good=last_good, guard=Late(rendered.document))
    assert (pushed.result.state, pushed.result.reason) == ("failed", "no adapter answers")
    assert stub.hash == EMPTY, "as before"
    assert not any(b"/cart" in post.body for post in stub.posts)


# -- waiting --------------------------------------------------------------------------------------------------


def test_a_named_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("decl.guard_first.wait_live", lambda *args, **_: asked.append(args))
    _, rendered = opened(PROTECTED)
    GuardFirst(rendered.document, lambda node: f"{node}:8000").wait("http://a")
    from decl.flatten import flatten

    assert asked == [(["http://a:8000"], expected_hash(flatten(rendered.document)))]


def test_a_proxy_that_does_not_answer_is_told_with_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    _, rendered = opened(PROTECTED)
    guard = GuardFirst(rendered.document, lambda _: "http://127.0.0.1:9", lambda: clock[0], sleep)
    with pytest.raises(AdminError, match="no adapter answers after 30 s; protected routes were not written"):
        guard.wait("http://a")
