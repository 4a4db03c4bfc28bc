"""The compose stack's own commands and settings, run on this machine with the sandbox in Kong's place, and the doctor
on all of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from cli.main import main
from tests.deploy.composed import PYTHON, Composed

ORDERS = {"Host": "order.localhost"}


pytestmark = pytest.mark.timeout(150)  # the fixture starts seven processes


@pytest.fixture(scope="module")
def stack(redis_program: str) -> Iterator[Composed]:
    """Redis, issuer, a front server, the plugin server of kong-1 and the sandbox with Kong's boot file."""
    made = Composed(redis_program, os.getgid())
    try:
        made.start_redis()
        for service in ("render", "keys"):
            done = made.once(service)
            assert done.returncode == 0, done.stdout + done.stderr
        again = made.once("keys")
        assert (again.returncode, again.stdout) == (0, ""), "the first key stays"
        made.start_example("issuer")
        made.start_server("kgate-1")
        env = made.environment("kong-1")
        proxy, admin = (f"127.0.0.1:{made.ports[name]}" for name in ("gateway:8000", "kong:8001"))
        sandbox = [
            "sandbox",
            "--run-dir",
            str(made.run),
            "--lane",
            "express",
            "-f",
            env["KONG_DECLARATIVE_CONFIG"],
        ]
        listen = ["--proxy-listen", proxy, "--admin-listen", admin, "--trusted-ips", "127.0.0.1/32"]
        made.start("sandbox", [PYTHON, "-m", "cli.main", *sandbox, *listen], os.environ)
        made.wait_for("sandbox", f"http://{admin}/status")
        made.start_example("orders")
        yield made
    finally:
        made.close()


def ask(stack: Composed, path: str, **headers: str) -> requests.Response:
    """The gateway's answer; once more when it was without a verdict: the machine may have held up the plugin server
    for longer than Kong waits."""
    for _ in range(5):
        answer = stack.get(f"http://127.0.0.1:{stack.ports['gateway:8000']}{path}", **headers)
        if answer.status_code != 503:
            break
        time.sleep(0.6)  # the guard's breaker lets one try again twice a second
    return answer


def test_a_token_is_served_and_none_is_refused(stack: Composed) -> None:
    refused = ask(stack, "/orders", **ORDERS)
    assert (refused.status_code, refused.json()["reason"]) == (401, "token_missing")
    served = ask(stack, "/orders", **ORDERS, Authorization=f"Bearer {stack.token()}")
    assert (served.status_code, served.json()) == (200, {"server": "orders", "user": "alice"})


def test_the_fallback_answers_for_the_front_server_that_is_away(stack: Composed) -> None:
    answer = ask(stack, "/menu", Host="menu.localhost", Authorization=f"Bearer {stack.token()}")
    assert (answer.status_code, answer.json()) == (200, {"items": []})


def test_what_the_services_leave_in_their_folders(stack: Composed) -> None:
    assert stack.run.stat().st_mode & 0o7777 == 0o2750
    assert (stack.run / "express.sock").stat().st_mode & 0o777 == 0o660
    assert (stack.trust / "server.yaml").stat().st_mode & 0o777 == 0o600
    assert (stack.boot / "kong.json").stat().st_mode & 0o004, "Kong is another user"
    assert "KEYRING" not in (stack.boot / "kong.json").read_text()
    secrets = stack.dir / "compose" / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}


def doctor(stack: Composed, broken: set[str], *args: str) -> Result:
    """What it finds; another time when it is not these checks that fail: its request is answered late, too, where the
    machine stands still."""
    for _ in range(4):
        result = one_look(stack, *args)
        if {each["check"] for each in told(result) if each["status"] == "error"} == broken:
            break
        time.sleep(0.6)
    return result


def one_look(stack: Composed, *args: str) -> Result:
    proxy, admin, health, redis = (
        stack.ports[name] for name in ("gateway:8000", "kong:8001", "kgate:9542", "redis:6379")
    )
    password = stack.secrets["redis.env"]["REDIS_PASSWORD"]
    options = {
        "--node": f"http://127.0.0.1:{admin}",
        "--proxy": f"http://127.0.0.1:{proxy}",
        "--server": f"http://127.0.0.1:{health}",
        "--redis": f"redis://kgate:{password}@127.0.0.1:{redis}/0",
        "--namespace": "compose",
        "--run-dir": str(stack.run),
        "--kong-group": str(os.getgid()),
    }
    given = dict(zip(args[::2], args[1::2], strict=True))
    pairs = [part for pair in (options | given).items() for part in pair if part]
    return CliRunner().invoke(main, ["doctor", "--output", "json", *pairs], standalone_mode=False)


def told(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["results"]
    return found


def test_the_doctor_finds_nothing_to_mend(stack: Composed) -> None:
    result = doctor(stack, set())
    odd = [each for each in told(result) if each["status"] in ("error", "warning")]
    assert [(each["check"], "sandbox" in each["said"]) for each in odd] == [("kong-version", True)]
    assert result.return_value == 0
    fine = {each["check"] for each in told(result) if each["status"] == "ok"}
    assert fine >= {
        "plugins",
        "adapter",
        "probe",
        "trusted-ips",
        "socket",
        "server",
        "redis",
        "clock",
        "keys",
    }
    assert stack.secrets["redis.env"]["REDIS_PASSWORD"] not in result.stdout


@pytest.mark.parametrize(
    ("option", "value", "check"),
    [
        ("--node", "http://127.0.0.1:1", "kong-version"),
        ("--proxy", "http://127.0.0.1:1", "probe"),
        ("--server", "http://127.0.0.1:1", "server"),
        ("--run-dir", "/nonexistent/kgate", "socket"),
        ("--redis", "redis://127.0.0.1:1/0", "redis"),
        ("--adapter-dir", "/nonexistent/adapter", "adapter"),
        ("--kong-group", "4190000", "socket"),
    ],
)
def test_the_doctor_names_the_part_that_is_broken(
    stack: Composed, option: str, value: str, check: str
) -> None:
    result = doctor(stack, {check}, option, value)
    broken = [each for each in told(result) if each["status"] == "error"]
    assert result.return_value == 4
    assert {each["check"] for each in broken} == {check}
    assert all(each["do"] for each in broken)


def test_the_doctor_sees_a_redis_that_evicts(stack: Composed, own_redis: Any) -> None:
    import redis

    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "100mb")
    result = doctor(stack, {"redis"}, "--redis", own_redis.url)
    found = [each for each in told(result) if each["check"] == "redis"]
    assert [(each["status"], "allkeys-lru" in each["said"]) for each in found] == [("error", True)]


def test_the_doctor_without_anything_to_look_at() -> None:
    args = ["doctor", "--node", "http://127.0.0.1:1", "--run-dir", "/nonexistent/kgate"]
    result = CliRunner().invoke(main, args, standalone_mode=False, env={"REDIS_URL": ""})
    assert result.return_value == 1
    assert "0 ok" in result.stdout
