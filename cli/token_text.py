"""What a token or passport says of itself, read without trusting it."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from cli.errors import UsageError

MAX_TOKEN = 16_384


def read_token(text: str) -> str:
    """The token of an option: itself, or what @FILE holds. Raises UsageError."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token {text}: {error}") from error


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(header, claims) of a JWT in compact form, unverified. Raises UsageError."""
    parts = token.strip().split(".")
    if len(parts) != 3 or len(token) > MAX_TOKEN:
        raise UsageError("the token is no signed JWT in compact form (three parts with dots)")
    return _object(parts[0], "header"), _object(parts[1], "payload")


def claims_of(token: str) -> dict[str, Any]:
    """The claims alone."""
    return parts_of(token)[1]


def _object(part: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise UsageError(f"the token's {name} is not base64url of JSON") from error
    if not isinstance(value, dict):
        raise UsageError(f"the token's {name} is no JSON object")
    return value
