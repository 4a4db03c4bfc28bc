"""Who is stopped at the door."""

from collections.abc import Callable

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, token, wait_until


def test_a_blocked_address_is_refused_within_a_second_and_freed_again(
    operator: Gateway, client: Client, reached: Callable[[], int]
) -> None:
    def status() -> int:
        return client("/secure/echo", token=token(), source="127.0.0.66").status

    assert status() == 200
    operator.kgate("block", "add", "127.0.0.66", "--reason", "test", "--ttl", "5m")
    wait_until(lambda: status() == 403, 1, "the block")
    before = reached()
    answer = client("/secure/echo", token=token(), source="127.0.0.66")
    assert (answer.status, answer.reason, reached()) == (403, "ip_blocked", before)
    assert client("/secure/echo", token=token(), source="127.0.0.67").status == 200
    operator.kgate("block", "rm", "127.0.0.66")
    wait_until(lambda: status() == 200, 1, "the removal")


def test_a_blocked_range_covers_preflights_too(operator: Gateway, client: Client) -> None:
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    operator.kgate("block", "add", "127.30.0.0/16", "--ttl", "5m")
    try:
        wait_until(
            lambda: client("/secure/echo", "OPTIONS", preflight, source="127.30.1.2").status == 403,
            1,
            "block",
        )
    finally:
        operator.kgate("block", "rm", "127.30.0.0/16")


def test_a_denied_range_of_the_config(client: Client, reached: Callable[[], int]) -> None:
    answer = client("/guarded/echo", source="127.9.3.4")
    assert (answer.status, answer.reason, reached()) == (403, "ip_denied", 0)
    assert client("/guarded/echo", source="127.8.3.4").status == 200
