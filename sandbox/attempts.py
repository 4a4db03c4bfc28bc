"""The tries of one request: which target, what may be tried again, and what counts for its health.

Rules as measured on Kong 3.9.3 (nginx's proxy_next_upstream `error timeout`): a refused or late connection is
tried again for every method, anything after the request was sent only for idempotent ones, an answer never.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from sandbox import balancer
from sandbox.balancer import Balancer, Peer
from sandbox.exchange import Exchange
from sandbox.forward import upstream_headers, upstream_target
from sandbox.hashing import value_to_hash
from sandbox.replay import Replay
from sandbox.rings import Choice
from sandbox.upstream import Failed, Response, Timeouts, UpstreamPool

log = logging.getLogger("sandbox")
_NOT_IDEMPOTENT = frozenset({"POST", "PATCH", "LOCK"})
_TIMEOUTS = frozenset({"connect_timeout", "read_timeout", "write_timeout"})
_NOTHING_SENT = frozenset({"refused", "connect_timeout"})
Service = Mapping[str, Any]


class Refused(Exception):
    """No answer came from an upstream. message None: nginx answers with this status, else Kong's core."""

    def __init__(self, status: int, message: str | None = None) -> None:
        super().__init__(message or str(status))
        self.status, self.message = status, message


def _may_try_again(kind: str, method: str) -> bool:
    return kind in _NOTHING_SENT or (method not in _NOT_IDEMPOTENT and kind != "invalid")


class Attempts:
    """One request's way to an upstream.

    tried: is told the number of each try before it starts.
    """

    def __init__(
        self,
        x: Exchange,
        service: Service,
        targets: Balancer,
        pool: UpstreamPool,
        consumer: str | None,
        tried: Callable[[int], None],
    ) -> None:
        self._x, self._service, self._balancer, self._pool = x, service, targets, pool
        self._tried = tried
        self._choice = Choice()
        self._host = x.upstream_name or service["host"]
        self._upstream = None if x.upstream_target else targets.upstreams.get(self._host)
        if self._upstream is not None:
            self._choice.hashed = value_to_hash(self._upstream, x, consumer)
        self._peer: Peer | None = None
        self._timeouts = Timeouts(
            x.connect_timeout or service["connect_timeout"] / 1000,
            x.write_timeout or service["write_timeout"] / 1000,
            x.read_timeout or service["read_timeout"] / 1000,
        )

    async def choose(self) -> None:
        """The first target: Kong takes it in access, before the body is read. Raises Refused."""
        if self._x.upstream_name and balancer.is_ip(self._service["host"]):
            log.error("failed to set the current peer: no host allowed (the service's host is an IP address)")
            raise Refused(500)
        self._peer = await self._next_peer(first=True)

    async def _next_peer(self, first: bool) -> Peer:
        x = self._x
        host, port = x.upstream_target or (self._host, self._service["port"])
        try:
            if x.upstream_target:
                return Peer(await balancer.resolve(host), port, host)
            return await self._balancer.peer(host, port, self._choice)
        except balancer.NoPeer:
            raise Refused(503, "failure to get a peer from the ring-balancer" if first else None) from None
        except balancer.NoName:
            raise Refused(503, "name resolution failed" if first else None) from None

    async def send(self, replay: Replay) -> Response:
        """The upstream's response. Raises Refused, and what reading the body raises."""
        assert self._peer is not None
        x = self._x
        retries = self._service["retries"] if x.retries is None else x.retries
        more = retries  # and one for each kept connection that its peer had given up
        while True:
            x.try_started = time.monotonic()
            row: dict[str, Any] = {
                "ip": self._peer.ip,
                "port": self._peer.port,
                "balancer_start": int(time.time() * 1000),
                "balancer_start_ns": time.time_ns(),
                "balancer_latency": 0,
                "balancer_latency_ns": 0,
            }
            x.tries.append(row)
            self._tried(len(x.tries))
            try:
                response = await self._one(replay, self._peer)
            except Failed as e:
                status = 504 if e.kind in _TIMEOUTS else 502
                x.upstream_status.append(status)
                x.upstream_connected.append(e.kind not in ("refused", "connect_timeout"))
                log.info("upstream %s:%d: %s", self._peer.ip, self._peer.port, e.kind)
                may = replay.possible and _may_try_again(e.kind, x.method)
                more += e.cached and e.kind == "reset"
                if len(x.tries) > retries:
                    row.update(state="failed", code=status)
                if len(x.tries) > more or not may:
                    raise Refused(status) from None
                row.update(state="failed", code=status)
                self._report_try(status)
                self._peer = await self._next_peer(first=False)
                continue
            x.upstream_status.append(response.status)
            x.upstream_connected.append(True)
            return response

    async def _one(self, replay: Replay, peer: Peer) -> Response:
        x = self._x
        tls = (x.upstream_scheme or self._service["protocol"]) == "https"
        host_header = self._upstream.get("host_header") if self._upstream else None
        headers = upstream_headers(x, peer, tls, host_header, replay.length)
        target = upstream_target(x, self._service.get("path"))
        connection = await self._pool.get(peer.ip, peer.port, tls, self._timeouts.connect)
        try:
            return await connection.exchange(x.method, target, headers, replay.stream(), self._timeouts)
        except Failed as e:
            connection.close()
            raise Failed(e.kind, connection.cached) from e
        except BaseException:
            connection.close()
            raise

    # -- health --------------------------------------------------------------------------------------------
    def _report_try(self, status: int) -> None:
        if self._upstream is not None and self._choice.address is not None:
            what = "timeout" if status == 504 else "tcp"
            self._balancer.health.report_failure(self._host, self._choice.address, what)

    def finish(self) -> None:
        """The request is over: what its last try says of the target."""
        x = self._x
        if self._upstream is None or self._choice.address is None:
            return
        if x.left or x.upstream_status:
            status = x.status if x.left else x.upstream_status[-1]
            self._balancer.health.report_last(self._host, self._choice.address, status)
        now = time.monotonic()
        self._balancer.done(self._host, self._choice, now - (x.try_started or now), now)
