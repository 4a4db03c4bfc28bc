"""Without a trusted proxy what a client says of its address changes nothing."""

from __future__ import annotations

import random
from itertools import count

import pytest

from tests.e2e.abuse_gateway import trusted_ips
from tests.e2e.client import Client, undisturbed
from tests.e2e.gateway import Gateway, wait_until

HEADERS = ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X_Forwarded_For", "True-Client-IP"]


@pytest.fixture
def alone(gateway: Gateway) -> Gateway:
    if gateway.given and trusted_ips(gateway.admin):
        pytest.skip("this Kong trusts a proxy")
    return gateway


SOURCES = (f"127.61.{number >> 8}.{(number & 255) or 255}" for number in count(random.randrange(50_000)))


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.usefixtures("alone")
def test_nobody_gets_a_limit_anew_by_another_s_address(client: Client, header: str) -> None:
    def send() -> list[int]:
        source = next(SOURCES)
        sent = ({header: f"93.187.{number}.1"} for number in range(24))
        return [client("/limited/menu/echo", headers=each, source=source).status for each in sent]

    assert undisturbed(client, send) == [200] * 20 + [429] * 4


@pytest.mark.parametrize("header", HEADERS[:2])
def test_a_scanner_is_found_whatever_he_says_and_nobody_in_his_stead(
    alone: Gateway, client: Client, operator: Gateway, header: str
) -> None:
    scanner, victim = next(SOURCES), next(SOURCES)
    try:
        for number in range(12):
            client(f"/watched/{number}/status/404", headers={header: victim}, source=scanner)
        wait_until(lambda: client("/watched/echo", source=scanner).reason == "ip_blocked", 3, "the block")
        assert client("/watched/echo", headers={header: victim}, source=scanner).status == 403
        assert client("/watched/echo", source=victim).status == 200
        assert client("/watched/echo", headers={header: scanner}, source=victim).status == 200
    finally:
        operator.kgate("block", "rm", scanner, check=False)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.usefixtures("alone")
def test_a_denied_address_cannot_talk_itself_out_nor_another_in(client: Client, header: str) -> None:
    assert client("/guarded/echo", headers={header: "127.9.3.4"}).status == 200
    assert client("/guarded/echo", headers={header: "127.8.3.4"}, source="127.9.3.4").status == 403
