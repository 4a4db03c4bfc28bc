"""A decider with one issuer, an HS256 key on disk, and control state in memory."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from kong_plugins.identity.trust import Trust
from kong_plugins.identity.trust_config import build_trust
from kong_plugins.server.decider import Decider
from kong_plugins.state.base import Block, State
from kong_plugins.state.snapshot import build
from tests.kong_plugins.server.running import Server

SECRET = b"a secret of at least thirty-two bytes!"
NOW = 1_800_000_000.0
BLOCKED = "203.0.113.66"

CONFIGS: dict[str, dict[str, Any]] = {
    "abuse-guard": {"fail": "closed"},
    "passport": {"issuers": ["main"]},
    "canary-router": {"name": "v2", "upstream": "order-v2", "percent": 100},
    "static-fallback": {
        "responses": [{"on": ["502", "refused"], "status": 200, "body": "{}", "name": "empty"}]
    },
}


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    issuer = {
        "name": "main",
        "iss": "https://auth.example",
        "audiences": ["shop"],
        "algorithms": ["HS256"],
        "secret_file": "secret",
    }
    return build_trust({"issuers": [issuer]}, tmp_path, tmp_path)


@pytest.fixture
def decider(trust: Trust) -> Decider:
    made = Decider(lambda: NOW)
    made.state = State(build(1, [Block("ip", BLOCKED, "test", "me", NOW)], []), trust)
    return made


@pytest.fixture
def token() -> str:
    claims = {"iss": "https://auth.example", "aud": "shop", "sub": "alice", "exp": NOW + 60, "iat": NOW}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@pytest.fixture
def facts() -> Callable[..., list[Any]]:
    """Builds the positional record; header names with underscores for dashes."""

    def build_record(request_id: str = "r1", ip: str = "198.51.100.7", **headers: str) -> list[Any]:
        flat = [text for name, value in headers.items() for text in (name.replace("_", "-"), value)]
        record = [1, request_id, ip, "http", "GET", "shop.example", "/orders", "/orders", "orders", "order"]
        return [*record, "food", "", "", *flat]

    return build_record


@pytest.fixture
def configs() -> dict[str, str]:
    """Each gate plugin's config as Kong sends it, with Kong's own extra keys."""
    extra = {"__plugin_id": "p", "__seq__": 1, "route_id": "r"}
    return {name: json.dumps({**config, **extra}) for name, config in CONFIGS.items()}


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(*args: str, **more: Any) -> Server:
        made.append(Server(tmp_path_factory.mktemp("s"), *args, **more))
        return made[-1]

    yield start
    for server in made:
        server.end()
