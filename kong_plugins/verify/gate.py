"""What both middlewares share: from a header to a passport or a 401 as problem details (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kong_plugins.verify.passport import Passport, PassportError, PassportKeys, verify_passport

Keys = Mapping[str, Any] | PassportKeys | Callable[[], Mapping[str, Any] | PassportKeys]
"""The gateway's JWKS, or a function that gives the current one: keys rotate."""

REFUSAL_HEADERS = (("Content-Type", "application/problem+json"), ("Cache-Control", "no-store"))


class Gate:
    """Checks passports for one audience. `optional` lets requests without any passport go on."""

    def __init__(
        self, keys: Keys, audience: str, issuer: str, leeway: float, optional: bool, profile: str = "kgate"
    ) -> None:
        self._keys: Callable[[], Mapping[str, Any] | PassportKeys]
        if callable(keys):
            self._keys = keys
        else:
            parsed = keys if isinstance(keys, PassportKeys) else PassportKeys(keys)
            self._keys = lambda: parsed
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._optional = optional
        self._profile = profile

    def check(self, token: str) -> Passport | None:
        """The passport; None when there is none and none is needed. Raises PassportError."""
        if not token and self._optional:
            return None
        return verify_passport(
            token,
            self._keys(),
            self._audience,
            issuer=self._issuer,
            leeway=self._leeway,
            profile=self._profile,
        )


def refusal(error: PassportError) -> bytes:
    """The body of the 401."""
    body = {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "This service is reached through its gateway only.",
        "reason": error.reason,
    }
    return json.dumps(body).encode()
