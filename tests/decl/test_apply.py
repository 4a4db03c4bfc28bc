"""Pushes to real sockets: what is sent, what is left alone, and what is said when it goes wrong."""

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from decl.admin import AdminClient
from decl.apply import NodeResult, Patience, push, push_to
from decl.load import Text
from decl.project import Project, open_project
from decl.render import Rendered, render
from tests.decl.admin_stub import AdminStub, Answer, admin_stub

SOURCE = b"""_format_version: "3.0"
services:
- name: cart
  url: http://cart
  routes:
  - name: cart
    paths:
    - /cart
    - ~/ca.rt$
  plugins:
  - {name: my-plugin, config: {where: nowhere}}
"""
QUICK = Patience(busy=2.0, live=0.3, poll=0.01)


@pytest.fixture(scope="module")
def project() -> Project:
    return open_project([Text("gateway.yaml", SOURCE)], {})


@pytest.fixture(scope="module")
def rendered(project: Project) -> Rendered:
    assert project.gateway is not None
    return render(project.gateway, "default")


@pytest.fixture
def stubs() -> Iterator[list[AdminStub]]:
    with ExitStack() as stack:
        yield [stack.enter_context(admin_stub()) for _ in range(3)]


def states(results: tuple[NodeResult, ...]) -> list[str]:
    return [result.state for result in results]


def run(
    stubs: list[AdminStub], rendered: Rendered, project: Project, **options: Any
) -> tuple[NodeResult, ...]:
    urls = [stub.url for stub in stubs]
    return push_to(urls, rendered, project.sources, patience=QUICK, **options)


def test_what_is_sent(stubs: list[AdminStub], rendered: Rendered, project: Project) -> None:
    results = run(stubs, rendered, project, headers={"Kong-Admin-Token": "t"})
    assert states(results) == ["changed"] * 3
    for stub in stubs:
        assert [(seen.method, seen.path) for seen in stub.seen] == [
            ("GET", "/status"),
            ("POST", "/config?check_hash=1&flatten_errors=1"),
            ("GET", "/status"),
        ]
        post = stub.posts[0]
        assert post.headers["content-type"] == "text/yaml"
        assert post.headers["kong-admin-token"] == "t"
        assert post.body == rendered.content
        assert json.loads(post.body) == rendered.document
        assert hashlib.md5(post.body).hexdigest() == rendered.hash == stub.hash


def test_a_node_that_has_the_config_is_left_alone(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    stubs[1].hash = rendered.hash
    assert states(run(stubs, rendered, project)) == ["changed", "unchanged", "changed"]
    assert stubs[1].posts == []
    assert states(run(stubs, rendered, project)) == ["unchanged"] * 3


def test_the_first_failure_stops_the_run(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    stubs[1].on_post = lambda _: Answer(403, {"message": "no"})
    results = run(stubs, rendered, project)
    assert states(results) == ["changed", "failed", "not tried"]
    assert "admin.headers" in results[1].reason
    assert results[2].reason == "a node before it failed"
    assert stubs[2].seen == []


REJECTION = {
    "code": 14,
    "fields": {},
    "flattened_errors": [
        {
            "entity_type": "route",
            "entity_name": "cart",
            "errors": [{"type": "field", "field": "paths.2", "message": "invalid regex"}],
        },
        {
            "entity_type": "plugin",
            "entity_name": "my-plugin",
            "errors": [{"type": "field", "field": "name", "message": "plugin 'my-plugin' not enabled"}],
        },
        {
            "entity_type": "service",
            "entity_name": "cart",
            "entity_id": "SERVICE",
            "errors": [{"type": "entity", "message": "failed conditional validation"}],
        },
        {"entity_type": "vault", "errors": [{"field": "x", "messages": ["one", "two"]}]},
    ],
    "message": "declarative config is invalid: {}",
}


def test_kongs_errors_are_shown_at_their_place(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    service_id = rendered.document["services"][0]["id"]
    body = json.loads(json.dumps(REJECTION).replace("SERVICE", service_id))
    stubs[0].on_post = lambda _: Answer(400, body)
    (result,) = run(stubs[:1], rendered, project)
    assert (result.state, result.reason) == ("failed", "refused the config: 5 errors")
    assert [str(finding) for finding in result.findings] == [
        "gateway.yaml:9:7: error[kong]: route 'cart': paths.2: invalid regex",
        "gateway.yaml:11:12: error[kong]: plugin 'my-plugin': name: plugin 'my-plugin' not enabled",
        "gateway.yaml:3:3: error[kong]: service 'cart': failed conditional validation",
        "gateway.yaml:1:1: error[kong]: vault: x: one",
        "gateway.yaml:1:1: error[kong]: vault: x: two",
    ]


def test_what_kong_says_of_right_references_beside_an_error_is_left_out(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    noise = {
        "entity_type": "plugin",
        "entity_name": "acl",
        "errors": [{"type": "field", "field": "consumer", "message": "value must be null"}],
    }
    body = {**REJECTION, "flattened_errors": [noise, REJECTION["flattened_errors"][0]]}  # type: ignore[index]
    stubs[0].on_post = lambda _: Answer(400, body)
    (result,) = run(stubs[:1], rendered, project)
    assert [found.message for found in result.findings] == ["route 'cart': paths.2: invalid regex"]
    stubs[0].on_post = lambda _: Answer(400, {**REJECTION, "flattened_errors": [noise]})
    (result,) = run(stubs[:1], rendered, project)
    assert len(result.findings) == 1


def test_errors_that_flattening_loses_are_asked_for_again(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    empty = {"fields": {}, "flattened_errors": {}, "message": "declarative config is invalid: {}"}
    full = {"fields": {"routes": ["x"]}, "message": "invalid reference 'service: x'"}
    stubs[0].on_post = lambda seen: Answer(400, empty if "flatten_errors" in seen.path else full)
    (result,) = run(stubs[:1], rendered, project)
    assert result.reason == "refused the config: invalid reference 'service: x'"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(413, "<html>Request Entity Too Large</html>"), "body limit"),
        (Answer(413, {"message": "MDB_MAP_FULL"}), "raise lmdb_map_size"),
        (Answer(401, ""), "refused access (HTTP 401)"),
        (Answer(404, {"message": "Not found"}), "does not have that (HTTP 404)"),
        (Answer(405, {"message": "Method not allowed"}), "does not have that (HTTP 405)"),
        (Answer(500, {"message": "An unexpected error occurred"}), "answered HTTP 500: An unexpected error"),
        (Answer(415, "<html>"), "answered HTTP 415: Unsupported Media Type"),
        (Answer(302, "", (("Location", "http://127.0.0.1:1/"),)), "answered HTTP 302"),
        (Answer(400, "not json"), "refused the config: no reason given"),
    ],
)
def test_refusals(
    stubs: list[AdminStub], rendered: Rendered, project: Project, answer: Answer, reason: str
) -> None:
    stubs[0].on_post = lambda _: answer
    results = run(stubs[:2], rendered, project)
    assert states(results) == ["failed", "not tried"]
    assert reason in results[0].reason


def test_a_node_that_fails_before_anything_is_sent_has_failed(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    stubs[0].on_status = lambda: Answer(500, {"message": "An unexpected error occurred"})
    assert states(run(stubs[:1], rendered, project)) == ["failed"]


def test_after_an_unclear_answer_the_hash_decides(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    stubs[0].on_post = lambda _: Answer(504, "", store=True)
    stubs[1].on_post = lambda _: Answer(503, {"message": "exiting"})
    results = run(stubs, rendered, project)
    assert states(results) == ["changed", "failed", "not tried"]


def test_when_the_hash_cannot_be_read_either_the_state_is_unknown(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    stubs[0].on_post = lambda _: Answer(504, "")
    stubs[0].on_status = lambda _: Answer(503, {}) if stubs[0].posts else None
    assert states(run(stubs, rendered, project)) == ["unknown", "not tried", "not tried"]


def test_a_busy_node_is_waited_for(stubs: list[AdminStub], rendered: Rendered, project: Project) -> None:
    stub = stubs[0]
    busy = Answer(429, {"message": "Currently loading"}, (("Retry-After", "0.01"),))
    stub.on_post = lambda _: busy if len(stub.posts) < 3 else None
    assert states(run([stub], rendered, project)) == ["changed"]
    assert len(stub.posts) == 3


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("2.5", 2.5), ("soon", 1.0), ("30", 30.0)])
def test_a_busy_node_is_waited_for_as_long_as_it_says(
    stubs: list[AdminStub], rendered: Rendered, project: Project, said: str, seconds: float
) -> None:
    stub, slept = stubs[0], list[float]()
    busy = Answer(429, {}, (("Retry-After", said),))
    stub.on_post = lambda _: busy if len(stub.posts) < 3 else None
    told = list[str]()
    with AdminClient(stub.url) as client:
        results = push(
            [client],
            rendered,
            project.sources,
            now=lambda: sum(slept),
            sleep=slept.append,
            notice=told.append,
        )
    assert states(results) == ["changed"]
    assert sum(slept) == 2 * seconds
    assert told == [f"{stub.url}: is busy; trying again in {seconds:g} s"] * 2


def test_a_node_that_stays_busy_fails(stubs: list[AdminStub], rendered: Rendered, project: Project) -> None:
    stubs[0].on_post = lambda _: Answer(429, {}, (("Retry-After", "5"),))
    (result,) = run(stubs[:1], rendered, project)
    assert result.state == "failed"
    assert "asks to be tried again in 5 s, and a busy node is waited for 2 s at most; try again after 20" in (
        result.reason
    )
    assert len(stubs[0].posts) == 1


@pytest.mark.parametrize(
    "answer", [Answer(503, ""), Answer(503, "", (("Retry-After", "9"),)), Answer(500, "")]
)
def test_what_a_node_did_not_take_is_sent_again(
    stubs: list[AdminStub], rendered: Rendered, project: Project, answer: Answer
) -> None:
    stub, slept = stubs[0], list[float]()
    stub.on_post = lambda _: answer if len(stub.posts) < 3 else None
    with AdminClient(stub.url) as client:
        results = push([client], rendered, project.sources, now=lambda: sum(slept), sleep=slept.append)
    assert states(results) == ["changed"]
    assert slept == ([9.0, 9.0] if answer.headers else [0.2, 0.4])
    stub.on_post, stub.hash = lambda _: answer, "x"
    stub.seen.clear()
    with AdminClient(stub.url) as client:
        results = push([client], rendered, project.sources, now=lambda: sum(slept), sleep=slept.append)
    assert states(results) == ["failed"]
    assert len(stub.posts) == 3


def test_a_config_that_does_not_show_up_is_unknown(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    stubs[0].on_post = lambda _: Answer(201, {})
    (result,) = run(stubs[:1], rendered, project)
    assert result.state == "unknown"
    assert "shows another hash" in result.reason


def test_a_node_without_a_hash_is_not_dbless(
    stubs: list[AdminStub], rendered: Rendered, project: Project
) -> None:
    stubs[0].on_status = lambda _: Answer(200, {"server": {}})
    (result,) = run(stubs[:1], rendered, project)
    assert result == (
        stubs[0].url,
        "failed",
        "tells no configuration_hash: it is no DB-less node; set the cluster's mode: db or hybrid",
        (),
    )


def test_a_node_that_is_away(rendered: Rendered, project: Project) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        (result,) = push_to([url], rendered, project.sources)
    assert result == (url, "failed", "is away: Connection refused", ())


def test_a_name_that_nobody_knows(rendered: Rendered, project: Project) -> None:
    (result,) = push_to(["http://nobody.invalid:8001"], rendered, project.sources)
    assert result.state == "failed"
    assert result.reason.startswith("is away: ")


def test_a_node_that_hangs(stubs: list[AdminStub], rendered: Rendered, project: Project) -> None:
    stubs[0].on_status = lambda _: Answer(200, {}, delay=5)
    (result,) = run(stubs[:1], rendered, project, timeout=0.1)
    assert (result.state, result.reason) == ("failed", "gave no answer within 0.1 s")


def test_what_does_not_speak_http(rendered: Rendered, project: Project) -> None:
    (result,) = push_to(["http://127.0.0.1:99999"], rendered, project.sources)
    assert result.state == "failed"
    assert result.reason.startswith(("cannot be asked", "is away"))


def test_no_proxy_gets_the_admin_token(
    stubs: list[AdminStub], rendered: Rendered, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = stubs[1]
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    assert states(run(stubs[:1], rendered, project, headers={"Kong-Admin-Token": "t"})) == ["changed"]
    assert proxy.seen == []
