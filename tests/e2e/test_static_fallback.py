"""An answer when the service has none; and never instead of the gateway's own word."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, token

CASES = [
    ("/refused/echo", "refused"),
    ("/all/slow/2", "timeout"),
    ("/all/reset", "reset"),
    ("/empty/echo", "no_target"),
    ("/nodns/echo", "no_target"),
    ("/all/status/500", "500"),
    ("/all/status/503", "503"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(("path", "why"), CASES)
def test_the_prepared_answer_from_the_first_failure_on(
    client: Client, path: str, why: str, method: str
) -> None:
    answer = client(path, method, token=token(), body=b"a=1" if method == "POST" else b"")
    assert answer.status == 200
    assert answer.headers["x-fallback"].split("; reason=") == ["empty", why]
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "application/json"
    if method == "HEAD":
        assert answer.body == b""
    else:
        assert answer.json == {"items": []}


def test_nothing_of_the_replaced_answer_stays(client: Client) -> None:
    answer = client("/all/status/500", token=token())
    assert not {"etag", "set-cookie", "content-encoding", "last-modified"} & set(answer.headers)
    assert int(answer.headers["content-length"]) == len(answer.body)


@pytest.mark.parametrize(
    ("path", "status"), [("/all/status/404", 404), ("/all/status/501", 501), ("/all/status/200", 200)]
)
def test_a_status_that_is_not_listed_stays(client: Client, path: str, status: int) -> None:
    answer = client(path, token=token())
    assert (answer.status, "x-fallback" in answer.headers) == (status, False)
    assert answer.headers["etag"] == '"old"'


def test_the_gateways_own_answer_is_never_replaced(client: Client, reached: Callable[[], int]) -> None:
    answer = client("/refused/echo")
    assert (answer.status, answer.reason, reached()) == (401, "token_missing", 0)
    assert "x-fallback" not in answer.headers


def test_without_the_plugin_kongs_error_stays(client: Client) -> None:
    assert client("/refusedplain/echo").status == 502


def test_a_large_body_and_a_stream_are_untouched(client: Client) -> None:
    assert len(client("/secure/big/20000000", token=token()).body) == 20_000_000
    assert client("/all/stream/5", token=token()).body == b"".join(b"chunk %d\n" % n for n in range(5))


def test_no_route_is_kongs_404(client: Client) -> None:
    assert client("/nowhere").status == 404
    assert client("/secure/echo", host="other.example").status == 404


def test_the_mark_of_a_client_does_not_come_back(gateway: Gateway, client: Client) -> None:
    answer = client("/secure/echo", headers={"X-Fallback": "forged"}, token=token())
    assert "x-fallback" not in answer.headers


def test_of_many_first_requests_at_a_time_all_have_the_new_answer(gateway: Gateway, client: Client) -> None:
    """No worker of Kong has it yet: one request fetches it, the others are about to need it."""
    config = gateway.config()
    plugins = [
        plugin
        for service in config["services"]
        for owner in (service, *service["routes"])
        for plugin in owner.get("plugins", [])
        if plugin["name"] == "static-fallback"
    ]
    for plugin in plugins:
        for answer in plugin["config"]["responses"]:
            answer["json"] = {"items": ["new"]}
    try:
        gateway.push(config)
        with ThreadPoolExecutor(24) as many:
            answers = list(many.map(lambda _: client("/refused/echo", token=token()), range(24)))
        assert [(answer.status, answer.body) for answer in answers] == [(200, b'{"items":["new"]}')] * 24
    finally:
        gateway.push(gateway.config())
