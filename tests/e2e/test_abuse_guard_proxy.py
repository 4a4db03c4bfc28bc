"""Behind a trusted proxy the forwarded address is what is limited, counted and blocked."""

from __future__ import annotations

import random
from itertools import count

import pytest

from tests.e2e.abuse_gateway import AbuseGateway, Person
from tests.e2e.client import undisturbed
from tests.e2e.gateway import wait_until

NETWORKS = count(random.randrange(50_000))  # as in AbuseGateway


@pytest.fixture
def proxied(guarded: AbuseGateway) -> AbuseGateway:
    if not guarded.is_proxied:
        pytest.skip("this Kong has no KONG_TRUSTED_IPS=127.0.0.0/8 KONG_REAL_IP_HEADER=X-Forwarded-For")
    return guarded


def v6(gateway: AbuseGateway, address: str) -> Person:
    return Person(gateway.client, address, True)


def test_the_forwarded_address_is_limited(proxied: AbuseGateway) -> None:
    def send() -> list[list[int]]:
        people = [proxied.person() for _ in range(2)]
        return [[one("/few/echo").status for _ in range(8)] for one in people]

    assert undisturbed(proxied.client, send) == [[200] * 5 + [429] * 3] * 2


def test_what_a_client_forges_before_the_proxy_s_word_counts_nothing(proxied: AbuseGateway) -> None:
    def send() -> list[int]:
        who = proxied.person()
        return [who("/few/echo", forged=f"93.186.0.{number}").status for number in range(8)]

    assert undisturbed(proxied.client, send) == [200] * 5 + [429] * 3


def test_the_forwarded_address_is_found_and_blocked(proxied: AbuseGateway) -> None:
    scanner, other = proxied.person(), proxied.person()
    for number in range(12):
        assert scanner(f"/scan/{number}/status/404").status in (404, 403)
    wait_until(lambda: scanner("/scan/echo").reason == "ip_blocked", 3, "the block")
    assert other("/scan/echo").status == 200
    assert proxied.client("/scan/echo").status == 200, "nor the proxy itself"
    assert other("/scan/echo", forged=scanner.ip).status == 200
    listed = proxied.kgate("block", "list", "--output", "json").stdout
    assert scanner.ip in listed
    assert "127.0.0.1" not in listed


def test_an_operator_s_block_is_of_the_forwarded_address(proxied: AbuseGateway) -> None:
    blocked, other = proxied.person(), proxied.person()
    proxied.kgate("block", "add", blocked.ip, "--ttl", "5m")
    wait_until(lambda: blocked("/calm/echo").reason == "ip_blocked", 1, "the block")
    assert other("/calm/echo").status == 200


@pytest.mark.parametrize("port", ["", ":4711"])
def test_ipv6_counts_by_its_64(proxied: AbuseGateway, port: str) -> None:
    def send() -> list[int]:
        network = f"2a00:1:{next(NETWORKS):x}:7"
        one = [f"{network}::{host:x}" for host in range(1, 9)]
        found = [v6(proxied, f"[{each}]{port}" if port else each)("/few/echo").status for each in one]
        return [*found, v6(proxied, network[:-1] + "8::1")("/few/echo").status]

    assert undisturbed(proxied.client, send) == [200] * 5 + [429] * 3 + [200]


def test_a_v4_mapped_address_is_the_v4_one(proxied: AbuseGateway) -> None:
    def send() -> list[int]:
        ip = proxied.person().ip
        high, low = (int(part) for part in ip.split(".")[:2]), (int(part) for part in ip.split(".")[2:])
        hexed = ":".join("".join(f"{part:02x}" for part in pair) for pair in (high, low))
        spelt = [ip, f"::ffff:{ip}", f"::ffff:{hexed}", f"0:0:0:0:0:FFFF:{ip}"]
        return [v6(proxied, spelt[number % 4])("/few/echo").status for number in range(8)]

    assert undisturbed(proxied.client, send) == [200] * 5 + [429] * 3


def test_a_scan_from_all_over_a_64_is_one_client_s(proxied: AbuseGateway) -> None:
    network = f"2a00:2:{next(NETWORKS):x}:7"
    for number in range(12):
        v6(proxied, f"{network}::{number + 1:x}")(f"/scan/{number}/status/404")
    wait_until(lambda: v6(proxied, f"{network}::ffff")("/scan/echo").reason == "ip_blocked", 3, "the block")
    assert v6(proxied, f"{network[:-1]}8::1")("/scan/echo").status == 200, "the next /64"
    assert f"{network}::/64" in proxied.kgate("block", "list", "--output", "json").stdout


@pytest.mark.parametrize("word", ["nonsense", "unknown", "93.186.1.300", "", "_hidden", "93.186.1.1, ", ","])
def test_a_proxy_s_word_that_is_no_address_breaks_nothing(proxied: AbuseGateway, word: str) -> None:
    assert proxied.client("/few/echo", headers={"X-Forwarded-For": word}).status in (200, 429)
