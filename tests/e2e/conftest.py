"""The gateway under test: the sandbox by default, or a running Kong.

    pytest tests/e2e
    pytest tests/e2e --kong-admin URL --kong-proxy URL --run-dir DIR [--kong-mode dbless|db] [--kong-restart COMMAND]

A given Kong was started with the settings of `kgate kong-env --run-dir DIR --lane L` after
`kgate plugin-info --run-dir DIR`; the lane is read off its settings. The tests start the plugin server,
Redis and the upstreams themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.abuse_gateway import AbuseGateway, Person, abuse_gateway
from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, lane_of
from tests.e2e.lease_gateway import LeaseGateway


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lane" in metafunc.fixturenames:
        admin = metafunc.config.getoption("--kong-admin")
        metafunc.parametrize("lane", [lane_of(admin)] if admin else ["express", "pdk"], scope="session")


@pytest.fixture(scope="session")
def gateways() -> Iterator[dict[str, Gateway]]:
    """Those that run, by lane: tests come file by file, and go back and forth between the lanes."""
    running: dict[str, Gateway] = {}
    yield running
    for gateway in running.values():
        gateway.close()


@pytest.fixture(scope="module")
def gateway(
    lane: str,
    gateways: dict[str, Gateway],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Gateway:
    if lane in gateways:
        return gateways[lane]
    option = request.config.getoption
    made = Gateway(
        lane,
        # a short name: a unix socket's path has at most 107 bytes
        option("--run-dir") or tmp_path_factory.mktemp("run"),
        option("--kong-admin"),
        option("--kong-proxy"),
        option("--kong-mode"),
    )
    made.workers, made.nodes = option("--sandbox-workers"), option("--sandbox-nodes")
    made.restart = option("--kong-restart")
    try:
        made.start()
    except BaseException:
        made.close()
        raise
    gateways[lane] = made
    return made


@pytest.fixture
def operator(gateway: Gateway, redis_program: str) -> Gateway:
    """The gateway, where operators' commands reach it: they need Redis."""
    return gateway


@pytest.fixture
def client(gateway: Gateway) -> Client:
    return Client(gateway.proxy, gateway)


@pytest.fixture
def reached(gateway: Gateway) -> Callable[[], int]:
    """How many requests have reached the upstreams since the test began."""
    before = gateway.reached()
    return lambda: gateway.reached() - before


@pytest.fixture(scope="module")
def guarded(
    lane: str,
    redis_program: str,
    gateways: dict[str, Gateway],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AbuseGateway]:
    """The gateway of the abuse tests."""
    with abuse_gateway(lane, gateways, request, tmp_path_factory) as made:
        yield made


@pytest.fixture
def person(guarded: AbuseGateway) -> Person:
    """Somebody whom no other test knows."""
    return guarded.person()


@pytest.fixture(scope="module")
def leasing(
    redis_program: str,
    gateways: dict[str, Gateway],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LeaseGateway]:
    """The gateway of the tests of leases, which are the express lane's."""
    option = request.config.getoption
    admin = option("--kong-admin")
    lane = lane_of(admin) if admin else "express"
    if lane != "express":
        pytest.skip("there are no leases in the pdk lane")
    if option("--kong-mode") != "dbless":
        pytest.skip("a configuration is pushed while requests run: with a database that takes 12 s")
    if admin and lane in gateways:
        gateways.pop(lane).close()  # the one Kong, its sockets and its configuration are this one's now
    folder = option("--run-dir") or tmp_path_factory.mktemp("run")
    made = LeaseGateway(lane, folder, admin, option("--kong-proxy"), option("--kong-mode"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def given(leasing: LeaseGateway) -> Iterator[LeaseGateway]:
    """The same; the connections of a test's people end with it."""
    yield leasing
    leasing.forget_people()
