"""Who the client is, across the whole gateway."""

from collections.abc import Callable

import pytest

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, token

GATEWAY_HEADERS = {
    "X-Passport": ["X-Passport", "X_Passport", "x-passport", "X_PASSPORT"],
    "Txn-Token": ["Txn-Token", "Txn_Token", "txn-token"],
    "X-Canary": ["X-Canary", "X_Canary"],
    "X-Abuse-Score": ["X-Abuse-Score", "X_Abuse_Score", "X-Abuse_Score", "X_Abuse-Score"],
}
DAY = 86_400
"""Seconds: some tokens are made when the tests are collected."""
SPELLINGS = [(name, spelling) for name, spellings in GATEWAY_HEADERS.items() for spelling in spellings]


def test_a_valid_token_becomes_a_passport_that_the_front_server_can_verify(
    gateway: Gateway, client: Client
) -> None:
    answer = client("/secure/echo", token=token("alice"))
    assert answer.status == 200, answer.body
    (passport,) = gateway.upstreams["main"].seen[-1].values("X-Passport")
    claims = gateway.passport_claims(passport)
    assert (claims["sub"], claims["iss"]) == ("alice", "kgate")
    assert 0 < claims["exp"] - claims["iat"] <= 60


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "token_missing"),
        ({"Authorization": "Basic YTpi"}, "token_missing"),
        ({"Authorization": "Bearer"}, None),
        ({"Authorization": "Bearer a.b.c"}, None),
        ({"Authorization": f"Bearer {token(seconds=-120)}"}, "token_expired"),
        ({"Authorization": f"Bearer {token(seconds=DAY, aud='other')}"}, "wrong_audience"),
        ({"Authorization": f"Bearer {token(seconds=DAY, iss='https://other.example')}"}, "unknown_issuer"),
        ({"Authorization": f"Bearer {token(seconds=DAY)[:-6]}AAAAAA"}, "bad_signature"),
        ({"Authorization": "Bearer \xff"}, None),
        ({"Authorization": f"Bearer {token(seconds=DAY)}\xff"}, None),
    ],
)
def test_anything_else_is_refused_and_reaches_nobody(
    client: Client, reached: Callable[[], int], headers: dict[str, str], reason: str | None
) -> None:
    answer = client("/secure/echo", headers=headers)
    assert answer.status == 401
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert reason is None or answer.reason == reason
    assert "x-kgate-reason" not in answer.headers, "that is for the log"
    assert reached() == 0


@pytest.mark.parametrize(("name", "spelling"), SPELLINGS)
@pytest.mark.parametrize("path", ["/plain/echo", "/secure/echo"])
def test_no_spelling_of_a_gateway_header_passes(
    gateway: Gateway, client: Client, path: str, name: str, spelling: str
) -> None:
    forged = [(spelling, "forged"), (spelling, "forged twice")]
    assert client(path, headers=forged, token=token()).status == 200
    values = gateway.upstreams["main"].seen[-1].values(name)
    assert not [value for value in values if "forged" in value]


@pytest.mark.parametrize(
    "listed", ["X-Passport", "x-passport, X-Canary", "close, X_Passport", "keep-alive, X-PASSPORT"]
)
def test_connection_cannot_take_the_passport_away(gateway: Gateway, client: Client, listed: str) -> None:
    """Kong drops what Connection lists (RFC 9110, section 7.6.1), and would drop ours too."""
    assert client("/secure/echo", headers={"Connection": listed}, token=token()).status == 200
    assert len(gateway.upstreams["main"].seen[-1].values("X-Passport")) == 1


def test_a_header_flood_hides_no_forged_passport(gateway: Gateway, client: Client) -> None:
    flood = [(f"X-{number}", "1") for number in range(150)]
    assert client("/secure/echo", headers=[*flood, ("X_Passport", "forged")], token=token()).status == 200
    assert "forged" not in gateway.upstreams["main"].seen[-1].values("X-Passport")


@pytest.mark.parametrize("path", ["/secure/\xff", "/secure/%ff", "/secure/echo?x=%FF", "/secure/echo?x=\xff"])
def test_odd_bytes_do_not_skip_the_filters(client: Client, reached: Callable[[], int], path: str) -> None:
    assert client(path).status in (400, 401, 404)
    assert client(path, headers={"User-Agent": "\xff\xfe"}).status in (400, 401, 404)
    assert reached() == 0


def test_two_authorization_headers_are_refused(client: Client, reached: Callable[[], int]) -> None:
    both = [("Authorization", "Bearer a.b.c"), ("Authorization", f"Bearer {token()}")]
    assert client("/secure/echo", headers=both).status in (400, 401)
    assert reached() == 0


def test_a_preflight_asks_no_token_and_gets_no_passport(gateway: Gateway, client: Client) -> None:
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    assert client("/secure/echo", "OPTIONS", preflight).status == 200
    seen = gateway.upstreams["main"].seen[-1]
    assert (seen.method, seen.values("X-Passport")) == ("OPTIONS", [])


def test_a_preflight_that_cors_answers_is_left_alone(client: Client, reached: Callable[[], int]) -> None:
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    answer = client("/cors/echo", "OPTIONS", preflight)
    assert answer.status in (200, 204)
    assert "access-control-allow-methods" in answer.headers
    assert reached() == 0


def test_options_without_a_preflights_headers_needs_a_token(client: Client) -> None:
    assert client("/secure/echo", "OPTIONS").status == 401


def test_an_optional_passport(gateway: Gateway, client: Client) -> None:
    assert client("/optional/echo").status == 200
    assert gateway.upstreams["main"].seen[-1].values("X-Passport") == []
    assert client("/optional/echo", token=token("bob")).status == 200
    (passport,) = gateway.upstreams["main"].seen[-1].values("X-Passport")
    assert gateway.passport_claims(passport)["sub"] == "bob"
    assert client("/optional/echo", token="a.b.c").status == 401


def test_a_more_specific_instance_replaces_the_service_s(client: Client) -> None:
    assert client("/replaced/echo").status == 200


def test_an_issuer_that_the_server_does_not_know_is_closed(
    client: Client, reached: Callable[[], int]
) -> None:
    answer = client("/strange/echo", token=token())
    assert (answer.status, reached()) == (503, 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD"])
def test_every_method(client: Client, reached: Callable[[], int], method: str) -> None:
    assert client("/secure/echo", method).status == 401
    assert reached() == 0
    body = b"x" * 5000 if method in ("POST", "PUT", "PATCH") else b""
    answer = client("/secure/echo", method, token=token(), body=body)
    assert answer.status == 200
    assert method == "HEAD" or answer.json["body"] == len(body)
