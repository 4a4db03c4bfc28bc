"""The same plugin modules under stock kong-python-pluginserver, over its own socket, as Kong talks to it.

For the same request it must come to the same verdict as `kgate serve`.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import msgpack
import pytest

from kong_plugins.engine.verdict import Verdict
from kong_plugins.kong_env import ADAPTER_DIR
from kong_plugins.server.decider import Decider
from kong_plugins.server.pdk_lane import exit_args

Record = Callable[..., list[Any]]
SECRET = b"a secret of at least thirty-two bytes!"


class Kong:
    """Plays Kong's part of the RPC for one request: answers PDK calls from a dict, notes what was set."""

    def __init__(self, path: Path, record: list[Any]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._unpacker = msgpack.Unpacker(self._socket.makefile("rb", buffering=0), strict_map_key=False)
        self._number = 0
        headers = dict(zip(record[13::2], record[14::2], strict=True))
        self.answers: dict[str, Any] = {
            "kong.nginx.get_var": record[1],
            "kong.client.get_forwarded_ip": record[2],
            "kong.request.get_scheme": record[3],
            "kong.request.get_method": record[4],
            "kong.request.get_host": record[5],
            "kong.request.get_path": record[6],
            "kong.request.get_raw_path": record[7],
            "kong.router.get_route": {"name": record[8], "tags": ["x", f"kgate-tenant:{record[10]}"]},
            "kong.router.get_service": {"name": record[9]},
            "kong.request.get_headers": {name: [value] for name, value in headers.items()},
        }
        self.shared: dict[str, Any] = {}
        self.effects: list[tuple[str, list[Any]]] = []

    def call(self, method: str, argument: Any) -> Any:
        self._number += 1
        self._socket.sendall(msgpack.packb([0, self._number, method, [argument]]))
        kind, number, error, result = next(self._unpacker)
        assert (kind, number, error) == (1, self._number, None)
        return result

    def run(self, plugin: str, config: dict[str, Any]) -> None:
        """One access phase of one plugin."""
        instance = self.call("plugin.StartInstance", {"Name": plugin, "Config": json.dumps(config)})
        reply = self.call("plugin.HandleEvent", {"InstanceId": instance["Id"], "EventName": "access"})
        while reply["Data"] != "ret":
            method, args = reply["Data"]["Method"], reply["Data"]["Args"]
            if method == "kong.response.exit":
                self.effects.append((method, args))
                return
            step: dict[str, Any] = {"EventId": reply["EventId"]}
            if method == "kong.ctx.shared.get":
                step["Data"] = self.shared.get(args[0])
            elif method == "kong.ctx.shared.set":
                self.shared[args[0]] = args[1]
            elif method in self.answers:
                step["Data"] = self.answers[method]
            else:
                self.effects.append((method, args))
            reply = self.call("plugin.Step", step)

    def close(self) -> None:
        self._socket.close()


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture(scope="module")
def stock_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stock")
    (folder / "secret").write_bytes(SECRET)
    (folder / "secret").chmod(0o600)
    issuer = {"name": "main", "iss": "https://auth.example", "audiences": ["shop"]}
    issuer |= {"algorithms": ["HS256"], "secret_file": "secret"}
    patient = {**issuer, "name": "patient", "iss": "https://patient.example"}
    patient["enrich"] = {"url": "http://127.0.0.1:9/", "claims": ["grade"], "wait_ms": 100}
    (folder / "server.yaml").write_text(json.dumps({"issuers": [issuer, patient]}))
    script = Path(sys.executable).parent / "kong-python-pluginserver"
    env = dict(os.environ, KGATE_SERVER_CONFIG=str(folder / "server.yaml"), KGATE_RUN_DIR=str(folder))
    env.pop("REDIS_URL", None)
    # its own advice: Python-style results; both are understood
    process = subprocess.Popen(
        [script, "-d", ADAPTER_DIR.parent / "stock", "-p", folder, "--socket-name", "s", "--no-lua-style"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 50
        while not listens(folder / "s"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield folder / "s"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def kong(stock_socket: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[list[Any]], Kong]]:
    made: list[Kong] = []

    def connect(record: list[Any]) -> Kong:
        made.append(Kong(stock_socket, record))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def live_token(seconds: float = 600, iss: str = "https://auth.example") -> str:
    now = time.time()
    claims = {"iss": iss, "aud": "shop", "sub": "alice", "exp": now + seconds, "iat": now}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def ours(decider: Decider, plugin: str, config: dict[str, Any], record: list[Any]) -> Verdict:
    known = decider.register(plugin, json.dumps(config))
    verdict, _wire = decider.decide_ids([known.id], record)
    assert verdict is not None
    return verdict


@pytest.mark.parametrize(
    ("plugin", "config", "headers", "ip"),
    [
        ("passport", {"issuers": ["main"]}, {}, "198.51.100.7"),
        ("passport", {"issuers": ["main"]}, {"authorization": "Bearer x.y.z"}, "198.51.100.7"),
        ("passport", {"issuers": ["other"]}, {"authorization": "Bearer x.y.z"}, "198.51.100.7"),
        ("abuse-guard", {"deny": ["198.51.100.0/24"]}, {}, "198.51.100.7"),
        ("abuse-guard", {"deny": ["198.51.100.0/24"]}, {}, "::ffff:198.51.100.7"),
    ],
)
def test_the_same_refusal(
    kong: Callable[[list[Any]], Kong],
    decider: Decider,
    facts: Record,
    plugin: str,
    config: dict[str, Any],
    headers: dict[str, str],
    ip: str,
) -> None:
    record = facts(ip=ip, **headers)
    there = kong(record)
    there.run(plugin, config)
    folded = ip.removeprefix("::ffff:")  # the adapter folds; under stock kong-pdk the plugin does
    expected = ours(decider, plugin, config, [*record[:2], folded, *record[3:]])
    assert expected.is_exit
    assert there.effects == [("kong.response.exit", exit_args(expected))]


def test_a_user_passes_from_passport_to_canary_router(
    kong: Callable[[list[Any]], Kong], decider: Decider, facts: Record
) -> None:
    token = live_token()
    there = kong(facts(authorization=f"Bearer {token}"))
    there.run("passport", {"issuers": ["main"]})
    set_headers = {args[0]: args[1] for method, args in there.effects if method.endswith("set_header")}
    assert jwt.decode(set_headers["X-Passport"], options={"verify_signature": False})["sub"] == "alice"
    assert ("kong.service.request.clear_header", ["X_Passport"]) in there.effects
    canary = {"name": "v2", "upstream": "order-v2", "percent": 100}
    there.effects.clear()
    there.run("canary-router", canary)
    assert ("kong.service.set_upstream", ["order-v2"]) in there.effects
    assert ("kong.service.request.set_header", ["X-Canary", "v2=canary"]) in there.effects


def test_what_asks_elsewhere_is_decided_by_what_is_known(
    kong: Callable[[list[Any]], Kong], facts: Record
) -> None:
    """Nobody answers asks here: a user whose issuer is being asked gets his passport all the same."""
    there = kong(facts(authorization=f"Bearer {live_token(iss='https://patient.example')}"))
    there.run("passport", {"issuers": ["patient"]})
    set_headers = {args[0]: args[1] for method, args in there.effects if method.endswith("set_header")}
    assert jwt.decode(set_headers["X-Passport"], options={"verify_signature": False})["sub"] == "alice"


def test_an_address_that_is_not_denied_passes(kong: Callable[[list[Any]], Kong], facts: Record) -> None:
    there = kong(facts())
    there.run("abuse-guard", {"deny": ["203.0.113.0/24"]})
    assert there.effects == []
