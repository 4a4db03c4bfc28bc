"""Every example in the operators' commands' help is run, on a scratch Redis."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cli.main import main
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.trust import Trust
from kong_plugins.passport.config import PassportConfig

GROUPS = [
    "block", "allow", "canary", "fallback", "breaker", "limits", "list", "passport", "events", "explain", "top",
]  # fmt: skip
AUTH = "https://auth.example.com"
BEFORE: dict[str, list[str]] = {
    "block rm": ["block add 203.0.113.7", "block add user:alice", "block import blocklist.csv"],
    "allow rm": ["allow add user:alice"],
    "fallback clear": ["fallback force service:checkout"],
    "breaker clear": ["breaker close route:menu"],
    "canary promote": ["canary set checkout-v2 --percent 10"],
    "list show": ["list import beta-users.txt --kind users"],
    "list rm": ["list import beta-users.txt --kind users"],
    "passport restore": [f"passport revoke --issuer {AUTH} --subject alice"],
    "events tail": [f"block add 203.0.113.{n}" for n in range(3)],
}
"""What must be there before a command's examples can be run."""


def leaves() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(main)
    for name in GROUPS:
        command = main.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", found) for sub, found in command.commands.items())
        else:
            yield name, command


LEAVES = dict(leaves())


def examples(command: click.Command) -> list[str]:
    lines = [line.strip() for line in (command.help or "").partition("Examples:")[2].splitlines()]
    return [line for line in lines if line.startswith("kgate ")]


@pytest.fixture
def files(shop_dir: Path) -> None:
    """What the examples name."""
    key = Ed25519PrivateKey.generate()
    ring = Keyring(key)
    claims = {"iss": AUTH, "sub": "alice", "aud": "shop", "jti": "1", "exp": int(time.time()) + 60}
    facts = Facts("r", "203.0.113.7", "https", "GET", "h", "/", "/", "", "", "", "", frozenset(), {})
    trust = Trust({}, StaticKeys({}), ring)
    decisions = [{"decisions": [{"duration": "1h", "scope": "Ip", "type": "ban", "value": "203.0.113.9"}]}]
    for name, text in {
        "blocklist.csv": "ip,ttl,reason\n192.0.2.1,2h,spam\n192.0.2.0/28,,\n",
        "addresses.txt": "192.0.2.1\n",
        "decisions.json": json.dumps(decisions),
        "beta-users.txt": "amy\n",
        "office.txt": "198.51.100.0/24\n",
        "token.txt": jwt.encode(claims, key, "EdDSA", headers={"kid": ring.kid}),
        "passport.txt": trust.issue(Identity(AUTH, "alice"), facts, PassportConfig(("main",)), time.time()),
        "jwks.json": json.dumps(ring.public_jwks()),
        "passport-jwks.json": json.dumps(ring.public_jwks()),
    }.items():
        Path(name).write_text(text)


@pytest.mark.parametrize("name", LEAVES)
def test_the_examples_work(kgate: Any, files: None, name: str) -> None:
    lines = examples(LEAVES[name])
    assert lines
    for line in BEFORE.get(name, ()):
        kgate.ok(*shlex.split(line))
    for line in lines:
        _, *arguments = shlex.split(line)
        assert arguments[: len(name.split())] == name.split()
        kgate.ok(*arguments)


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_has_its_options_and_a_json_output(name: str) -> None:
    options = {option for param in LEAVES[name].params for option in param.opts}
    assert "--output" in options
    if name != "passport inspect":
        assert {"--redis", "--namespace"} <= options
    changing = name.split()[-1] not in (
        "list",
        "show",
        "why",
        "check",
        "export",
        "inspect",
        "tail",
        "explain",
        "top",
    )
    assert ("--reason" in options) == ("--actor" in options) == changing
    ends = {"rm", "clear", "restore", "promote"}
    assert ("--ttl" in options) == (changing and name.split()[-1] not in ends)
