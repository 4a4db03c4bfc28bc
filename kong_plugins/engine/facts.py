"""Facts: everything that the filters may know about one request, as one flat record.

The adapter builds the record in Kong's worker (docs/protocol.md). It is positional, because the same
list crosses a MessagePack socket for each request:

    [protocol, request_id, ip, scheme, method, host, path, raw_path, route, service, tenant,
     traceparent, truncated, name1, value1, name2, value2, ...]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PROTOCOL = 1
"""The protocol that this server speaks; adapters of PROTOCOL and PROTOCOL - 1 are served."""

FIXED_FIELDS = 13
MAX_HEADER_BYTES = 8192
"""The adapter cuts a header value here and names it in `truncated`."""


class FactsError(ValueError):
    """The record is not one that an adapter of a served protocol sends."""


class Identity(NamedTuple):
    """Who a verified token says the client is. Made by passport, trusted by the filters after it."""

    issuer: str
    subject: str
    token_id: str = ""
    scope: str = ""
    claims: Mapping[str, Any] = {}
    issued_at: float | None = None
    """The token's `iat` in Unix seconds, where it has one."""
    level: str = "full"
    """full | token_only | stale: how much of what is known of a user could be asked for (passport)."""
    token: bytes = b""
    """A digest of the token."""

    @property
    def key(self) -> str:
        """The user as one string, for hashing and lists: two issuers may have the same subject."""
        return f"{self.issuer}|{self.subject}"


_new = tuple.__new__


class Facts(NamedTuple):
    """One request, as the adapter saw it after Kong's realip and routing.

    `ip` is canonical text (v4-mapped addresses unfolded); `path` is normalised and the only path that
    filters match; `raw_path` is for logs. `headers` holds lower-case names, and only those that the
    cluster's filters asked for. Strings may hold surrogates where the client sent bytes that are not
    UTF-8. `identity` is None until passport has verified a token, `arm` is "" until canary-router has decided.
    """

    request_id: str
    ip: str
    scheme: str
    method: str
    host: str
    path: str
    raw_path: str
    route: str
    service: str
    tenant: str
    traceparent: str
    truncated: frozenset[str]
    headers: Mapping[str, str]
    identity: Identity | None = None
    arm: str = ""

    def of(self, identity: Identity) -> Facts:
        """The same request, once it is known who makes it."""
        return _new(Facts, (*self[:-2], identity, self.arm))

    def on(self, arm: str) -> Facts:
        """The same request, once its canary arm is known."""
        return _new(Facts, (*self[:-1], arm))

    @property
    def is_preflight(self) -> bool:
        """A CORS preflight, as the Fetch standard defines it: it can carry no credentials."""
        return (
            self.method == "OPTIONS"
            and "origin" in self.headers
            and "access-control-request-method" in self.headers
        )


_NOTHING: frozenset[str] = frozenset()


def parse_facts(record: Sequence[Any]) -> Facts:
    """Build Facts from the adapter's positional record.

    Raises FactsError when the record is of a protocol that is not served, too short, or holds
    something that is not text.
    """
    if len(record) < FIXED_FIELDS or len(record) % 2 == 0:
        raise FactsError(f"facts: {len(record)} fields, expected {FIXED_FIELDS} and pairs of headers")
    protocol = record[0]
    if protocol not in (PROTOCOL, PROTOCOL - 1) or isinstance(protocol, bool):
        raise FactsError(f"facts: protocol {protocol!r} is not served, this server speaks {PROTOCOL}")
    try:
        "".join(record[1:])  # the cheapest look at the type of every field
    except TypeError:
        kind = next(type(value).__name__ for value in record[1:] if not isinstance(value, str))
        raise FactsError(f"facts: a field is {kind}, expected text") from None
    truncated = frozenset(record[12].split(",")) if record[12] else _NOTHING
    headers = dict(zip(record[13::2], record[14::2]))  # noqa: B905 - of one length, see above
    return _new(Facts, (*record[1:12], truncated, headers, None, ""))
