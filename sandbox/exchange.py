"""One request on its way through the proxy: what came in, what is sent up, what goes back.

All text is latin-1 of the bytes on the wire, so any byte survives.
"""

from __future__ import annotations

import ipaddress
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from decl.routing import path_pattern
from sandbox.settings import Network

if TYPE_CHECKING:
    from sandbox.attempts import Attempts
    from sandbox.replay import Replay

Pairs = list[tuple[str, str]]


def get_all(pairs: Pairs, name: str) -> list[str]:
    """All values of a header, by its exact spelling but for case."""
    lower = name.lower()
    return [value for key, value in pairs if key.lower() == lower]


def get_first(pairs: Pairs, name: str) -> str | None:
    """The first value of a header, or None."""
    lower = name.lower()
    for key, value in pairs:
        if key.lower() == lower:
            return value
    return None


def without(pairs: Pairs, name: str) -> Pairs:
    """The headers less all of this name."""
    lower = name.lower()
    return [pair for pair in pairs if pair[0].lower() != lower]


def clean(value: str) -> str:
    """A header value that cannot end its line early."""
    return value.replace("\r", "").replace("\n", "").replace("\0", "").strip(" \t")


@dataclass
class Exchange:
    """State of one request; plugins read and change it through the Lua shim."""

    method: str
    target: str
    http_version: str
    headers: Pairs
    peer: tuple[str, int]
    listener: tuple[str, int]
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.time)
    started_mono: float = field(default_factory=time.monotonic)
    scheme: str = "http"
    trusted: bool = False
    remote_addr: str = ""
    path: str = ""  # normalised
    route: Mapping[str, Any] | None = None
    service: Mapping[str, Any] | None = None
    matched: str = ""
    vars: dict[str, str] = field(default_factory=dict)
    # towards the upstream
    upstream_name: str | None = None
    upstream_target: tuple[str, int] | None = None
    upstream_path: str | None = None
    upstream_scheme: str | None = None
    query: str | None = None
    retries: int | None = None
    connect_timeout: float | None = None
    write_timeout: float | None = None
    read_timeout: float | None = None
    replay: Replay | None = None
    attempts: Attempts | None = None
    authority: str = ""
    body_seen: str | None = None
    hash_cookie: str | None = None
    proxied: bool = False
    tries: list[dict[str, Any]] = field(default_factory=list)
    upstream_status: list[int] = field(default_factory=list)
    upstream_connected: list[bool] = field(default_factory=list)
    left: bool = False  # the client went before the upstream answered
    upstream_response_status: int | None = None
    upstream_seconds: float | None = None
    try_started: float = 0.0
    # towards the client
    status: int = 200
    reason: str | None = None
    resp_headers: Pairs = field(default_factory=list)
    body: str | None = None  # None: the upstream's own
    sent: bool = False
    close: bool = False  # the client's connection, after the answer
    bytes_sent: int = 0

    def __post_init__(self) -> None:
        raw, mark, query = self.target.partition("?")
        self.raw_path = raw  # a fragment in the path stays in it, one in the query is cut off: nginx's way
        self.query = query.partition("#")[0] if mark else None

    @property
    def host_header(self) -> str:
        """The Host header as the client sent it."""
        return get_first(self.headers, "host") or ""

    @property
    def host(self) -> str:
        """nginx's $host: lower case, without the port; Kong's server name when there is none."""
        name = (self.authority or self.host_header).lower()
        if name.startswith("["):
            return name.partition("]")[0] + "]"
        return name.partition(":")[0].removesuffix(".") or "kong"

    def forwarded(self, what: str) -> str | None:
        """X-Forwarded-* of a trusted peer, else what is true of this connection."""
        if self.trusted:
            value = get_first(self.headers, f"x-forwarded-{what if what != 'scheme' else 'proto'}")
            if value:
                return value.split(",")[0].strip().lower() if what in ("scheme", "host") else value
        return {
            "scheme": self.scheme,
            "host": self.host,
            "port": str(self.listener[1]),
            "path": self.raw_path,
        }.get(what)

    @property
    def upstream_statuses(self) -> str:
        """nginx's $upstream_status: of each try."""
        return ", ".join([*map(str, self.upstream_status), *(["-"] if self.left else [])])

    @property
    def captures(self) -> dict[str, str]:
        """What the groups of the route's regular expression caught, by name and by number."""
        for path in (self.route or {}).get("paths") or ():
            match = re.match(path_pattern(path), self.path) if path.startswith("~") else None
            if match and match[0] == self.matched:
                numbered = {str(i): text for i, text in enumerate(match.groups(), 1) if text is not None}
                return numbered | {k: v for k, v in match.groupdict().items() if v is not None}
        return {}

    def find_client(self, trusted: Sequence[Network], header: str, recursive: bool) -> None:
        """realip: the client's address, from the configured header where the peer is trusted."""
        self.remote_addr = self.peer[0]
        self.trusted = is_trusted(self.peer[0], trusted)
        value = get_first(self.headers, header)
        if not self.trusted or not value:
            return
        candidates = (
            [part.strip() for part in value.split(",")] if header.lower() == "x-forwarded-for" else [value]
        )
        for candidate in reversed(candidates):
            try:
                address = str(ipaddress.ip_address(candidate))
            except ValueError:
                return
            self.remote_addr = address
            if not recursive or not is_trusted(address, trusted):
                return


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether an address lies in one of the trusted networks."""
    if not trusted:
        return False
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in trusted)
