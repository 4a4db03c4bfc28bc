"""What a passport costs: verify and issue by algorithm, cold and warm, and as a ratio to one raw signature check.

    python -m bench.passport [--json] [--seconds 0.3]

Microseconds of processor time, the best of five rounds, one process. "cold" is a token that nobody has seen, "warm"
one that this process verified before; "raw" is the signature check of the algorithm alone, by the same library.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt

from kong_plugins.engine.facts import Facts
from kong_plugins.identity.issuers import Issuer
from kong_plugins.identity.jwks import Key, KeySet, parse_jwks
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.signing import SIGNING_ALGORITHMS, Keyring, b64url, make_key
from kong_plugins.identity.tokens import check_token
from kong_plugins.identity.trust import Trust
from kong_plugins.passport.config import parse
from kong_plugins.passport.core import decide
from kong_plugins.state.base import State
from kong_plugins.state.snapshot import empty_snapshot
from kong_plugins.verify import PassportKeys, verify_passport

ROUNDS = 5
NOW = 1_800_000_000.0


class Row(NamedTuple):
    """One algorithm. All but the last are microseconds."""

    alg: str
    raw_check: float
    verify_cold: float
    verify_warm: float
    raw_sign: float
    issue_cold: float
    issue_warm: float
    decide_cold: float
    decide_warm: float
    front_server: float

    def ratios(self) -> dict[str, float]:
        """Every time in raw signature checks."""
        return {
            name: round(value / self.raw_check, 3) for name, value in self._asdict().items() if name != "alg"
        }


def microseconds(do: Callable[[], Any], seconds: float) -> float:
    """The best of some rounds."""
    count, spent = 1, 0.0
    while spent < seconds / ROUNDS / 4:
        count *= 2
        spent = _run(do, count)
    return round(min(_run(do, count) for _ in range(ROUNDS)) / count * 1e6, 2)


def _run(do: Callable[[], Any], count: int) -> float:
    started = time.process_time()
    for _ in itertools.repeat(None, count):
        do()
    return time.process_time() - started


def measure(alg: str, seconds: float) -> Row:
    """All times of one algorithm, which the issuer and the gateway both use."""
    ring = Keyring(make_key(alg), "bench")
    jwk = ring.public_jwk() or {"kty": "oct", "k": b64url(ring.private_bytes()), "kid": "bench", "alg": alg}
    keys: KeySet = parse_jwks({"keys": [jwk]}, (alg,))
    issuer = Issuer("bench", "https://auth.bench.example", ("bench",), (alg,))
    claims = {"iss": issuer.iss, "aud": "bench", "sub": "user-1", "iat": NOW, "exp": NOW + 3600, "jti": "1"}
    token = jwt.encode(claims, _signing(ring), algorithm=alg, headers={"kid": "bench"})
    message, _, signature = token.rpartition(".")
    raw, text = _decode(signature), message.encode()
    trust = Trust({"bench": issuer}, StaticKeys({"bench": keys}), ring)
    identity = trust.verify(token, ("bench",), NOW)
    key: Key = keys.keys[0]
    facts = Facts(
        "r-1", "192.0.2.1", "https", "GET", "h", "/", "/", "r", "s", "t", "", frozenset(),
        {"authorization": f"Bearer {token}"},
    )  # fmt: skip
    usual = parse({"issuers": ["bench"]})
    never = parse({"issuers": ["bench"], "reuse_for": 0})
    state = State(empty_snapshot(), trust)
    cold = State(state.snapshot, _Forgetful({"bench": issuer}, StaticKeys({"bench": keys}), ring))
    passport = trust.issue(identity, facts, usual, NOW)
    public = PassportKeys({"keys": [jwk]})

    def us(do: Callable[[], Any]) -> float:
        return microseconds(do, seconds)

    return Row(
        alg,
        raw_check=us(lambda: key.verify(text, raw)),
        verify_cold=us(lambda: check_token(token, {"bench": issuer}, {"bench": keys}, NOW)),
        verify_warm=us(lambda: trust.verify(token, ("bench",), NOW)),
        raw_sign=us(lambda: ring.sign(text)),
        issue_cold=us(lambda: trust.issue(identity, facts, never, NOW)),
        issue_warm=us(lambda: trust.issue(identity, facts, usual, NOW)),
        decide_cold=us(lambda: decide(facts, never, cold, NOW)),
        decide_warm=us(lambda: decide(facts, usual, state, NOW)),
        front_server=us(lambda: verify_passport(passport, public, "kgate", now=NOW)),
    )


class _Forgetful(Trust):
    """Verifies every token anew."""

    def verify(self, token: str, issuer_names: tuple[str, ...], now: float) -> Any:
        _, sets = self._keys.snapshot()
        return check_token(token, self._issuers, sets, now).identity


def _signing(ring: Keyring) -> Any:
    return ring.private_bytes()


def _decode(part: str) -> bytes:
    return jwt.utils.base64url_decode(part)


def report(rows: list[Row]) -> str:
    """A table for people."""
    names = [name for name in Row._fields if name != "alg"]
    lines = [f"{'us (raw checks)':16}" + "".join(f"{row.alg:>20}" for row in rows)]
    for name in names:
        cells = (f"{getattr(row, name):.1f} ({row.ratios()[name]:.2f})" for row in rows)
        lines.append(f"{name:16}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.passport", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each number")
    args = parser.parse_args(arguments)
    rows = [measure(alg, args.seconds) for alg in SIGNING_ALGORITHMS]
    if args.json:
        about = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
        found = [{**row._asdict(), "ratios": row.ratios()} for row in rows]
        print(json.dumps({"about": about, "unit": "us", "algorithms": found}))
    else:
        print(report(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
