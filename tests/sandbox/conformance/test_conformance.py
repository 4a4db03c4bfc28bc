"""The sandbox, or a real Kong, against the case files.

    pytest tests/sandbox/conformance
    pytest tests/sandbox/conformance --kong-admin URL --kong-proxy URL --run-dir DIR [--kong-mode db]

A real Kong is started with what `python -m tests.sandbox.conformance.settings DIR` prints. A case that fails there
is a wrong case. In DB mode each case removes what it made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sandbox.conformance.case_files import Case, load
from tests.sandbox.conformance.gateway import Gateway
from tests.sandbox.conformance.run import Runner
from tests.sandbox.conformance.upstreams import Upstreams


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = load()
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])


@pytest.fixture(scope="module")
def upstreams() -> Iterator[Upstreams]:
    made = Upstreams()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway_for(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Gateway]]:
    """The gateway for a mode; each is started once. None is there for a mode that the real Kong is not in."""
    option = request.config.getoption
    made: dict[str, Gateway] = {}
    with tempfile.TemporaryDirectory(prefix="conf-", dir="/tmp") as folder:  # socket paths are short

        def get(mode: str) -> Gateway:
            real, given = option("--kong-admin"), option("--kong-mode")
            if real and mode not in (given, "any"):
                pytest.skip(f"for {mode}, this Kong is {given}")
            mode = given if real else "dbless" if mode == "any" else mode
            if mode not in made:
                where = Path(option("--run-dir") or folder) / ("" if real else mode)
                where.mkdir(parents=True, exist_ok=True)
                made[mode] = Gateway(mode, where, real, option("--kong-proxy"))
            return made[mode]

        yield get
        for gateway in made.values():
            gateway.close()


def test_case(case: Case, gateway_for: Callable[[str], Gateway], upstreams: Upstreams) -> None:
    gateway = gateway_for(case.mode)
    found = Runner(gateway, upstreams).run(case)
    if case.differs and not gateway.real:
        assert found, f"the sandbox does this now, take `differs` out: {case.differs}"
        pytest.xfail(case.differs)
    assert not found, "\n".join(found)
