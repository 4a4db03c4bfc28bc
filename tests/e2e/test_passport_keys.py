"""The keyring and the issuer's keys under load and in an outage, end to end."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import jwt
import pytest

from kong_plugins.verify import PassportError, PassportKeys, verify_passport
from tests.e2e.client import Client, undisturbed
from tests.e2e.gateway import ISSUER, Gateway, lane_of, wait_until
from tests.e2e.passport_gateway import PassportGateway

JWKS = "/.well-known/kgate-jwks.json"


@pytest.fixture(scope="module")
def kept(
    redis_program: str,
    gateways: dict[str, Gateway],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PassportGateway]:
    option = request.config.getoption
    admin = option("--kong-admin")
    lane = lane_of(admin) if admin else "express"
    if admin and lane in gateways:
        gateways.pop(lane).close()  # the one Kong, its sockets and its configuration are this one's now
    folder = option("--run-dir") or tmp_path_factory.mktemp("run")
    made = PassportGateway(lane, folder, admin, option("--kong-proxy"), option("--kong-mode"))
    try:
        made.start()
        # Kong's worker may have met the server before it was ready
        wait_until(lambda: Client(made.proxy)(JWKS).status == 200, 20, "the gateway answers")
        yield made
    finally:
        made.close()


@pytest.fixture
def ask(kept: PassportGateway) -> Client:
    return Client(kept.proxy, kept)


@pytest.fixture
def keys_of(ask: Client) -> Callable[[], PassportKeys]:
    def read() -> PassportKeys:
        answer = ask(JWKS)
        assert answer.status == 200, answer.body
        return PassportKeys(answer.json)

    return read


def passport_of(kept: PassportGateway, name: str = "X-Passport") -> str:
    (found,) = kept.upstreams["main"].seen[-1].values(name)
    return found


def test_the_public_keys_are_for_everybody(kept: PassportGateway, ask: Client) -> None:
    answer = ask(JWKS)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/jwk-set+json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    (key,) = answer.json["keys"]
    assert set(key) == {"crv", "kty", "x", "kid", "use", "alg"}
    assert (ask(JWKS, "HEAD").status, ask(JWKS, "HEAD").body) == (200, b"")
    refused = ask(JWKS, "POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_passport_of_the_keyring(
    kept: PassportGateway, ask: Client, keys_of: Callable[[], PassportKeys]
) -> None:
    answer = ask("/secure/echo", token=kept.auth.token())
    assert answer.status == 200, answer.body
    found = verify_passport(passport_of(kept), keys_of(), "kgate")
    assert (found.subject, found.authn_level) == ("alice", "full")


def test_a_transaction_token(kept: PassportGateway, ask: Client, keys_of: Callable[[], PassportKeys]) -> None:
    assert ask("/txn/echo", token=kept.auth.token(scope="orders:read")).status == 200
    found = verify_passport(passport_of(kept, "Txn-Token"), keys_of(), "shop.internal", profile="txn-token")
    assert (found.subject, found.scope, found.claims["req_wl"]) == ("alice", "orders:read", "kgate")
    seen = kept.upstreams["main"].seen[-1]
    assert [found.txn] == seen.values("X-Kong-Request-Id")


def test_a_token_in_a_cookie_and_a_passport_under_another_name(
    kept: PassportGateway, ask: Client, keys_of: Callable[[], PassportKeys]
) -> None:
    sent = [
        ("Cookie", f"a=1; session={kept.auth.token()}; b=2"),
        ("X_Who", "forged"),
        ("X-Device-Id", "phone-1"),
    ]
    assert ask("/cookie/echo", headers=sent).status == 200
    seen = kept.upstreams["main"].seen[-1]
    assert seen.values("Cookie") == ["a=1; b=2"]
    found = verify_passport(passport_of(kept, "X-Who"), keys_of(), "kgate")
    assert (found.subject, found.device) == ("alice", "phone-1")
    both = [("Cookie", f"session={kept.auth.token()}"), ("X-Session-Token", kept.auth.token("bob"))]
    answer = ask("/cookie/echo", headers=both)
    assert (answer.status, answer.reason) == (400, "token_ambiguous")
    twins = [("X-Session-Token", kept.auth.token()), ("X_Session_Token", kept.auth.token("bob"))]
    assert ask("/cookie/echo", headers=twins).status == 401


def test_an_anonymous_passport(
    kept: PassportGateway, ask: Client, keys_of: Callable[[], PassportKeys]
) -> None:
    assert ask("/anonymous/echo").status == 200
    assert verify_passport(passport_of(kept), keys_of(), "kgate").is_anonymous
    assert ask("/anonymous/echo", token="a.b.c").status == 401


def test_enrichment_comes_with_a_later_request(
    kept: PassportGateway, ask: Client, keys_of: Callable[[], PassportKeys]
) -> None:
    users = itertools.count()

    def level(token: str) -> str:
        assert ask("/rich/echo", token=token).status == 200
        found = verify_passport(passport_of(kept), keys_of(), "kgate")
        assert found.claims.get("grade") == ("gold" if found.authn_level == "full" else None)
        return found.authn_level

    def first() -> tuple[str, str]:
        token = kept.auth.token(f"carol-{next(users)}", iss="https://rich.example")
        return token, level(token)

    token, found = undisturbed(ask, first)
    assert found == "token_only"
    wait_until(lambda: level(token) == "full", 5, "the passport has the grade")


def test_the_first_request_may_wait_for_the_enrichment(
    kept: PassportGateway, ask: Client, keys_of: Callable[[], PassportKeys]
) -> None:
    """wait_ms: 100. An issuer that does not answer in time delays the request for so long and no longer."""
    iss = "https://patient.example"
    keys, users = keys_of(), itertools.count()

    def first_level() -> str:
        assert ask("/patient/echo", token=kept.auth.token(f"pat-{next(users)}", iss=iss)).status == 200
        return verify_passport(passport_of(kept), keys, "kgate").authn_level

    # on a busy machine a question may take longer than the wait
    wait_until(lambda: first_level() == "full", 10, "the first passport of a token is full")
    kept.auth.free.clear()
    try:
        # a request that is sent again is no first one: another user's
        answer = undisturbed(
            ask, lambda: ask("/patient/echo", token=kept.auth.token(f"late-{next(users)}", iss=iss))
        )
    finally:
        kept.auth.free.set()
    assert (answer.status, answer.seconds >= 0.1) == (200, True)
    assert verify_passport(passport_of(kept), keys_of(), "kgate").authn_level == "token_only"


def test_two_addresses_of_one_token_have_two_passports(
    kept: PassportGateway, ask: Client, keys_of: Callable[[], PassportKeys]
) -> None:
    token, found = kept.auth.token("ann"), []
    for source in ("127.0.0.1", "127.0.0.9", "127.0.0.1"):
        assert ask("/reused/echo", token=token, source=source).status == 200
        found.append(passport_of(kept))
    one, other = (verify_passport(each, keys_of(), "kgate") for each in found[:2])
    assert (one.ip, other.ip) == ("127.0.0.1", "127.0.0.9")
    assert one.txn != other.txn
    for _ in range(8):  # another worker of the server makes its own
        ask("/reused/echo", token=token)
        found.append(passport_of(kept))
    assert len(set(found)) < 6, "they are reused"
    (request_id,) = kept.upstreams["main"].seen[-1].values("X-Kong-Request-Id")
    assert request_id != one.txn, "the request's own id travels beside"


def test_a_logout_counts_at_once_for_a_passport_that_is_reused(kept: PassportGateway, ask: Client) -> None:
    token = kept.auth.token("lou", jti="logout-1")
    assert ask("/reused/echo", token=token).status == 200
    kept.kgate("passport", "revoke", "--issuer", ISSUER["iss"], "--token-id", "logout-1", "--ttl", "5m")
    wait_until(lambda: ask("/reused/echo", token=token).status == 401, 2, "the logout reached the workers")
    answer = ask("/reused/echo", token=token)
    assert (answer.reason, answer.status) == ("token_revoked", 401)
    assert ask("/reused/echo", token=kept.auth.token("lou", jti="logout-2")).status == 200


def test_metrics_of_keys_and_enrichment(kept: PassportGateway, ask: Client) -> None:
    ask("/rich/echo", token=kept.auth.token("dora", iss="https://rich.example"))
    wait_until(lambda: kept.metric("kgate_enrichment_total", result="good") > 0, 3, "the worker has told")
    assert kept.metric("kgate_issuer_keys", issuer="main") == 1
    # the issuer says nothing of how long its keys hold, and `refresh` is a second
    wait_until(
        lambda: 0 <= kept.metric("kgate_issuer_keys_age_seconds", issuer="main") < 10, 5, "it is asked again"
    )
    assert kept.metric("kgate_jwks_refreshes_total", issuer="main", result="good") >= 1
    wait_until(lambda: kept.metric("kgate_passports_issued_total", level="full") > 0, 3, "and of passports")
    assert kept.metric("kgate_passport_keys", state="current") == 1
    assert kept.metric("kgate_passport_key_age_seconds") >= 0


@pytest.mark.chaos
def test_rotation_under_load_fails_no_verification(
    kept: PassportGateway, ask: Client, keys_of: Callable[[], PassportKeys]
) -> None:
    """A front server asks for the keys now and then; each passport verifies with what it has."""
    token, seen, failures = kept.auth.token(), set(), []
    verified: list[str] = []
    unanswered: list[str] = []
    stop = threading.Event()
    newest = [keys_of()]

    def load() -> None:
        client = Client(kept.proxy)
        while not stop.is_set():
            answer = client("/secure/echo", token=token)
            if answer.status == 503:
                unanswered.append(answer.reason)
                continue
            try:
                headers = {name.lower(): value for name, value in answer.json["headers"]}
                passport = headers["x-passport"]
                verified.append(passport)
                verify_passport(passport, newest[0], "kgate")
                seen.add(jwt.get_unverified_header(passport)["kid"])
            except (PassportError, KeyError, ValueError) as error:
                failures.append((answer.status, repr(error)))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        made = kept.keys("rotate", "--alg", "ES256", "--publish-for", "2s")
        assert made["state"] == "next"
        until = time.monotonic() + 8
        while made["kid"] not in seen and time.monotonic() < until:
            newest[0] = keys_of()
            time.sleep(0.4)
        time.sleep(0.3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    # on an overloaded machine Kong's worker may find the server away for a moment: it says so and lets nobody pass
    assert set(unanswered) <= {"server_away", "breaker_open"}, unanswered
    assert len(unanswered) <= len(verified) / 50
    assert made["kid"] in seen
    assert len(seen) == 2
    old = next(key["kid"] for key in kept.keys("list") if key["state"] == "previous")
    kept.keys("retire", old)
    wait_until(lambda: keys_of().find(old) is None, 5, "the retired key is not published any more")
    gone = kept.keys("list")[-1]
    assert (gone["kid"], gone["state"], gone["sealed"]) == (old, "revoked", False)


@pytest.mark.chaos
def test_the_issuer_is_away_and_people_still_order(kept: PassportGateway, ask: Client) -> None:
    token = kept.auth.token("dave")
    assert ask("/secure/echo", token=token).status == 200
    kept.auth.away = True

    def level() -> str:
        answer = ask("/secure/echo", token=token)
        assert answer.status == 200, answer.body
        claims = jwt.decode(passport_of(kept), options={"verify_signature": False})
        return str(claims["authn_level"])

    wait_until(lambda: level() == "stale", 8, "the passport says that the issuer is away")
    wait_until(lambda: kept.metric("kgate_issuer_keys_stale", issuer="main") == 1, 3, "so do the metrics")
    assert kept.metric("kgate_jwks_refreshes_total", issuer="main", result="failed") >= 1
    kept.restart_server()
    wait_until(lambda: ask("/secure/echo", token=token).status == 200, 10, "it works after a restart")
    assert level() == "stale"
    stranger = jwt.encode({"sub": "x"}, "s" * 32, algorithm="HS256", headers={"kid": "k1"})
    assert ask("/secure/echo", token=stranger).status == 401
    kept.auth.rotate("k2")
    fresh = kept.auth.token("erin", kid="k2")
    answer = ask("/secure/echo", token=fresh)
    assert (answer.status, answer.reason) == (401, "unknown_key")
    kept.auth.away = False
    wait_until(lambda: ask("/secure/echo", token=fresh).status == 200, 8, "the issuer is back with a new key")
    assert level_is_full(ask, kept, fresh)


def level_is_full(ask: Client, kept: PassportGateway, token: str) -> bool:
    assert ask("/secure/echo", token=token).status == 200
    claims = jwt.decode(passport_of(kept), options={"verify_signature": False})
    return bool(claims["authn_level"] == "full")


@pytest.mark.chaos
def test_no_answer_without_the_server(kept: PassportGateway, ask: Client) -> None:
    kept.stop_server()
    assert ask(JWKS).status == 503
    kept.start_server()
    wait_until(lambda: ask(JWKS).status == 200, 10, "the keys are served again")
