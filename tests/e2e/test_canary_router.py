"""Chosen users to chosen backends."""

import pytest

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, token, wait_until


def test_a_pinned_user_on_a_service_with_an_address_for_a_host(gateway: Gateway, client: Client) -> None:
    assert client("/pinned/echo", token=token("carol")).json["server"] == "canary"
    assert gateway.upstreams["canary"].seen[-1].values("X-Canary") == ["pinned=canary"]
    assert client("/pinned/echo", token=token("alice")).json["server"] == "main"
    assert gateway.upstreams["main"].seen[-1].values("X-Canary") == ["pinned=control"]


def test_a_client_cannot_choose_for_itself(client: Client) -> None:
    answer = client(
        "/pinned/echo", headers={"X-Canary": "pinned=canary", "X_Canary": "x"}, token=token("alice")
    )
    assert answer.json["server"] == "main"


@pytest.mark.parametrize(("source", "server"), [("127.20.1.1", "test"), ("127.0.0.1", "main")])
def test_an_office_range_sees_the_test_backend(client: Client, source: str, server: str) -> None:
    assert client("/office/echo", token=token(), source=source).json["server"] == server


def test_a_share_of_the_users_the_same_ones_each_time(client: Client) -> None:
    def chosen() -> list[bool]:
        return [client("/percent/echo", token=token(f"u{n}")).json["server"] == "canary" for n in range(120)]

    first = chosen()
    assert 35 <= sum(first) <= 85, "half of 120, within four standard deviations"
    assert chosen() == first


def test_an_operator_moves_the_share(operator: Gateway, client: Client) -> None:
    def server() -> str:
        return str(client("/all/echo", token=token("dave")).json["server"])

    assert server() == "main"
    operator.kgate("canary", "set", "all", "--percent", "100", "--new")
    wait_until(lambda: server() == "canary", 1, "100 percent")
    operator.kgate("canary", "set", "all", "--pause")
    wait_until(lambda: server() == "main", 1, "the pause")
    operator.kgate("canary", "set", "all", "--resume", "--percent", "0")
