"""Each kind of rule, ramps, devices, and canaries that the gateway gives up by itself."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, token, wait_until
from tests.pace import within


@pytest.mark.parametrize(
    ("user", "request_", "server", "arm"),
    [
        (None, {}, "main", "control"),
        ("bob", {}, "main", "control"),
        ("carol", {}, "canary", "canary"),
        ("nina", {"source": "127.21.0.1"}, "main", "control"),
        ("bob", {"source": "127.21.0.1"}, "test", "lab"),
        (None, {"headers": {"X-Beta": "yes"}}, "canary", "canary"),
        (None, {"headers": {"X-Beta": "no"}}, "main", "control"),
        (None, {"headers": {"Cookie": "a=b; beta=1"}}, "canary", "canary"),
        (None, {"headers": {"X-Canary": "ruled=canary"}}, "main", "control"),
    ],
)
def test_each_rule(
    gateway: Gateway, client: Client, user: str | None, request_: dict[str, Any], server: str, arm: str
) -> None:
    answer = client("/ruled/echo", token=None if user is None else token(user), **request_)
    assert answer.json["server"] == server
    assert gateway.upstreams[server].seen[-1].values("X-Canary") == [f"ruled={arm}"]


@pytest.mark.parametrize(
    ("claims", "server"),
    [
        ({"employee": True}, "canary"),
        ({"employee": False}, "main"),
        ({"time": "now"}, "canary"),
        ({"time": "other"}, "main"),
    ],
)
def test_claims_and_times(gateway: Gateway, client: Client, claims: dict[str, Any], server: str) -> None:
    assert client("/ruled/echo", token=token("bob", **claims)).json["server"] == server
    (passport,) = gateway.upstreams[server].seen[-1].values("X-Passport")
    arm = "canary" if server == "canary" else "control"
    assert gateway.passport_claims(passport)["canary"] == f"ruled={arm}"


def test_a_named_list(client: Client, operator: Gateway) -> None:
    file = operator.dir / "testers.txt"
    file.write_text("https://auth.example|tess\n")
    operator.kgate("list", "import", str(file), "--name", "e2e-testers", "--kind", "users")
    wait_until(
        lambda: client("/ruled/echo", token=token("tess")).json["server"] == "canary", 1, "she is listed"
    )
    assert client("/ruled/echo", token=token("bob")).json["server"] == "main"


def test_a_staff_route_does_not_exist_for_others(gateway: Gateway, client: Client) -> None:
    before = gateway.reached()
    for who in (None, token("bob"), token("bob", employee=False)):
        answer = client("/staffonly/echo", token=who)
        assert answer.status == 404
        assert b"staff" not in answer.body
    assert gateway.reached() == before
    assert client("/staffonly/echo", token=token("eve", employee=True)).json["server"] == "canary"


def test_a_device_keeps_its_arm_by_a_signed_cookie(client: Client) -> None:
    servers: list[str] = []
    # a new device each time: half of them, by luck
    while len(servers) < 12 or (len(set(servers)) == 1 and len(servers) < 60):
        first = client("/device/echo")
        cookie = first.headers["set-cookie"].partition(";")[0]
        again = client("/device/echo", headers={"Cookie": cookie})
        assert again.json["server"] == first.json["server"]
        assert "set-cookie" not in again.headers
        servers.append(first.json["server"])
        forged = client(
            "/device/echo", headers={"Cookie": cookie[:-4] + ("BBBB" if "AAA" in cookie[-4:] else "AAAA")}
        )
        assert forged.headers["set-cookie"].partition(";")[0] != cookie
    assert set(servers) == {"main", "canary"}


def test_a_ramp_of_the_plan_and_of_an_operator(client: Client, operator: Gateway) -> None:
    def server() -> str:
        return str(client("/ramped/echo", token=token("dave")).json["server"])

    assert server() == "canary"
    ramp = ["--to", "100", "--over", "7d", "--start", "2020-01-01"]
    operator.kgate("canary", "ramp", "ramped", "--to", "1", "--over", "1h", "--start", "2990-01-01", "--new")
    wait_until(lambda: server() == "main", 1, "a ramp that has not begun")
    operator.kgate("canary", "ramp", "ramped", *ramp)
    wait_until(lambda: server() == "canary", 1, "a ramp that has arrived")
    operator.kgate("canary", "set", "ramped", "--reset")


def test_the_plans_kill_switch(client: Client) -> None:
    assert client("/killed/echo", token=token("dave")).json["server"] == "main"


# what the gateway does by itself


def events(gateway: Gateway, name: str) -> list[dict[str, Any]]:
    found = json.loads(gateway.kgate("events", "list", "--kind", "canary.abort", "--output", "json").stdout)
    return [event for event in found if event["subject"] == name]


@pytest.fixture
def express(lane: str) -> None:
    if lane != "express":
        pytest.skip("the lanes share what is tested here: once is enough")


@pytest.fixture
def reset(operator: Gateway) -> Iterator[None]:
    """What the gateway has given up is taken back."""
    yield
    for name in ("risky", "hollow"):
        operator.kgate("canary", "set", name, "--reset", check=False)


@pytest.mark.usefixtures("reset")
def test_a_canary_without_a_target_is_given_up_within_a_second(client: Client, operator: Gateway) -> None:
    before, failed = len(events(operator, "hollow")), 0
    started = time.monotonic()
    while (answer := client.once("/hollow/echo", token=token("carol"))).status == 503:
        failed += 1
        assert time.monotonic() - started < within(1), f"{failed} requests have failed"
    assert answer.json["server"] == "main"
    assert failed >= 1, "somebody must meet it first"
    wait_until(lambda: len(events(operator, "hollow")) > before, 1, "the event")
    (event,) = events(operator, "hollow")[before:]
    assert event["reason"].startswith("no_target: ")
    assert event["data"]["rule"] == "no_target"


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("reset", "express")
def test_a_canary_that_fails_more_often_is_given_up_everywhere(client: Client, operator: Gateway) -> None:
    arms: dict[str, list[str]] = {"main": [], "canary": []}
    for number in range(40):
        mine = token(f"r{number}")
        arms[str(client("/risky/echo", token=mine).json["server"])].append(mine)
    chosen = arms["canary"][0]
    before = len(events(operator, "risky"))
    started = time.monotonic()
    while not events(operator, "risky")[before:]:
        assert time.monotonic() - started < within(20), "it was not given up"
        for _ in range(3):
            for mine in arms["canary"][:10]:
                client("/risky/status/500", token=mine)
            for mine in arms["main"][:10]:
                client("/risky/echo", token=mine)
    wait_until(lambda: client("/risky/echo", token=chosen).json["server"] == "main", 5, "everywhere")
    (event,) = events(operator, "risky")[before:]
    assert event["data"]["canary"]["error_percent"] > 50 > event["data"]["control"]["error_percent"]
    assert event["reason"].startswith("error_difference: ")

    def shown() -> str:
        return operator.kgate(
            "canary", "show", "risky", "--metrics", f"127.0.0.1:{operator.metrics_port}"
        ).stdout

    assert "risky: aborted" in shown()
    wait_until(lambda: "canary: " in shown(), 2, "the gauges come twice a second")


# restart and a second node


def split(client: Client) -> list[str]:
    """Who serves each of 40 users. A request that came in while the server was away is asked again."""

    def server(user: str) -> str:
        wait_until(lambda: client("/percent/echo", token=token(user)).status == 200, 10, "an answer")
        return str(client("/percent/echo", token=token(user)).json.get("server", ""))

    return [server(f"u{n}") or server(f"u{n}") for n in range(40)]


@pytest.mark.chaos
@pytest.mark.usefixtures("express")
def test_the_same_users_and_devices_after_a_restart(gateway: Gateway, client: Client) -> None:
    before, device = split(client), client("/device/echo")
    gateway.signal_server(signal.SIGTERM)
    gateway.start_server()
    wait_until(lambda: client("/percent/echo", token=token()).status == 200, 10, "the server is back")
    assert split(client) == before
    cookie = {"Cookie": device.headers["set-cookie"].partition(";")[0]}
    wait_until(lambda: client("/device/echo", headers=cookie).status == 200, 10, "an answer")
    again = client("/device/echo", headers=cookie)
    assert "set-cookie" not in again.headers
    assert again.json["server"] == device.json["server"]


@pytest.fixture
def second(express: None, operator: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Another node of the same gateway: the same Redis and passport key, else all its own."""
    if operator.given:
        pytest.skip("there is one Kong")
    made = Gateway("express", Path("/nonexistent"), None, None, "dbless")
    try:
        made.env["REDIS_URL"] = operator.env["REDIS_URL"]
        shutil.copy(operator.dir / "server.yaml", made.dir)
        made.run_dir.mkdir(mode=0o700)
        for key in operator.run_dir.rglob("passport-key.pem"):
            target = made.run_dir / key.relative_to(operator.run_dir)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            shutil.copy(key, target)
        made.start_server()
        made._start_sandbox()
        made.push(made.config())
        yield made
    finally:
        made.close()


@pytest.mark.chaos
@pytest.mark.usefixtures("reset")
def test_two_nodes_answer_alike_and_give_up_together(
    client: Client, operator: Gateway, second: Gateway
) -> None:
    other = Client(second.proxy)
    assert split(other) == split(client)
    device = client("/device/echo")
    again = other("/device/echo", headers={"Cookie": device.headers["set-cookie"].partition(";")[0]})
    assert "set-cookie" not in again.headers
    assert again.json["server"] == device.json["server"]
    assert other("/hollow/echo", token=token("carol")).status == 503
    wait_until(lambda: client("/hollow/echo", token=token("carol")).status == 200, 5, "the first node too")
