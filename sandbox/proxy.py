"""The proxy: takes a request through Kong's phases, to the upstream and back.

rewrite (global plugins) -> route -> access -> upstream, with retries -> header_filter -> client -> log.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox import balancer, http_errors, normalise, router
from sandbox.exchange import Exchange, get_all, get_first
from sandbox.forward import response_headers, upstream_headers, upstream_target
from sandbox.http1 import Abort, BodyTooLarge, Request
from sandbox.lua_runtime import Lua
from sandbox.replay import Replay
from sandbox.settings import Settings
from sandbox.upstream import Failed, Response, UpstreamPool

log = logging.getLogger("sandbox")
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
_TIMEOUTS = ("connect_timeout", "read_timeout")
_RETRY_ANY_METHOD = ("refused", "connect_timeout")
SERVER = "kong/3.9.3"


@dataclass(frozen=True)
class Plan:
    """What a configuration means for the proxy; replaced as a whole by each POST /config."""

    router: router.Router = field(default_factory=lambda: router.Router([]))
    balancer: balancer.Balancer = field(default_factory=lambda: balancer.Balancer([], []))
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lua_entities: Mapping[str, Any] = field(default_factory=dict)  # id -> Lua table of a route or service


class _Answered(Exception):
    """The answer stands on the exchange; the upstream is not asked."""


class Proxy:
    """Handles requests of the proxy listener."""

    def __init__(self, settings: Settings, lua: Lua, listener: tuple[str, int]) -> None:
        self._settings, self._lua = settings, lua
        self.listener = listener
        self.plan = Plan()
        self.pool = UpstreamPool()
        lua.host.upstreams = lambda: self.plan.balancer.upstreams

    async def handle(self, request: Request) -> None:
        """One request, from its head to the log phase. Raises Abort."""
        x = Exchange(
            request.method, request.target, request.version, request.headers, request.peer, self.listener
        )
        x.find_client(
            self._settings.trusted_ips, self._settings.real_ip_header, self._settings.real_ip_recursive
        )
        r = self._lua.context(x)
        upstream: Response | None = None
        with contextlib.suppress(_Answered):
            upstream = await self._ask(x, r, request)
        try:
            await self._answer(x, r, request, upstream)
        finally:
            self._lua.output(r, "log")

    # -- until there is an answer --------------------------------------------------------------------------
    async def _ask(self, x: Exchange, r: Any, request: Request) -> Response:
        self._check(x, r, request)
        await self._phase(x, r, "rewrite")
        x.path = normalise.normalise(x.raw_path)
        plan = self.plan
        headers: dict[str, list[str]] = {}
        for name, value in x.headers:
            headers.setdefault(name.lower(), []).append(value)
        match = plan.router.match(router.Request(x.method, x.host_header, self.listener[1], x.path, headers))
        service = plan.services.get((match.route.get("service") or {}).get("id", "")) if match else None
        if match is None or (service is not None and not service["enabled"]):
            raise self._refuse(x, r, 404, "no Route matched with those values")
        x.route, x.matched, x.service = match.route, match.matched, service
        self._need_https(x, r)
        lua_route = plan.lua_entities[match.route["id"]]
        lua_service = plan.lua_entities[service["id"]] if service else None
        await self._phase(x, r, "access", lua_route, lua_service)
        if service is None:
            raise self._refuse(x, r, 503, "no Service found with those values")
        return await self._try_all(x, r, request, plan, service)

    def _check(self, x: Exchange, r: Any, request: Request) -> None:
        status = request.error
        if status is None and x.method in ("TRACE", "CONNECT"):
            status = 405
        if status is None and (len(get_all(x.headers, "authorization")) > 1 or not x.method.isupper()):
            status = 400
        if status is None:
            try:
                normalise.check_raw(x.raw_path)
            except normalise.BadPath:
                status = 400
        length = get_first(x.headers, "content-length")
        if status is None and length and 0 < self._settings.max_body < int(length):
            status = 413
        if status is not None:
            request.error = status  # what follows on this connection is not to be trusted
            self._nginx_error(x, r, status)
            raise _Answered

    async def _phase(self, x: Exchange, r: Any, phase: str, *args: Any) -> None:
        outcome = await self._lua.run(r, phase, *args)
        if outcome == "done":
            return
        if outcome == "error":
            self._lua.mark(r, "KONG_UNEXPECTED")
            self._kong_error(x, 500, "An unexpected error occurred")
        raise _Answered

    def _need_https(self, x: Exchange, r: Any) -> None:
        assert x.route is not None
        if "http" in x.route["protocols"] or x.forwarded("scheme") == "https":
            return
        status = x.route["https_redirect_status_code"]
        if status == 426:
            x.resp_headers += [("Connection", "Upgrade"), ("Upgrade", "TLS/1.2, HTTP/1.1")]
            raise self._refuse(x, r, 426, "Please use HTTPS protocol")
        x.resp_headers.append(("Location", f"https://{x.host}{x.target}"))
        x.status, x.body = status, ""
        self._lua.mark(r, "KONG_EXITED")
        raise _Answered

    def _refuse(self, x: Exchange, r: Any, status: int, message: str) -> _Answered:
        self._lua.mark(r, "KONG_EXITED")
        self._kong_error(x, status, message)
        return _Answered()

    def _kong_error(self, x: Exchange, status: int, message: str) -> None:
        kind, body = http_errors.error_body(message, x.request_id, get_first(x.headers, "accept"))
        self._put(x, status, kind, body)

    def _nginx_error(self, x: Exchange, r: Any, status: int) -> None:
        self._lua.mark(r, "KONG_UNEXPECTED")
        kind, body = http_errors.nginx_error(status, x.request_id, get_first(x.headers, "accept"))
        self._put(x, status, kind, body)

    @staticmethod
    def _put(x: Exchange, status: int, kind: str, body: str) -> None:
        x.status, x.reason, x.body = status, None, body
        x.resp_headers = [p for p in x.resp_headers if p[0].lower() not in ("content-type", "content-length")]
        x.resp_headers += [("Content-Type", kind), ("Content-Length", str(len(body)))]

    # -- the upstream --------------------------------------------------------------------------------------
    async def _try_all(
        self, x: Exchange, r: Any, request: Request, plan: Plan, service: Mapping[str, Any]
    ) -> Response:
        if x.upstream_name and balancer.is_ip(service["host"]):
            log.error("failed to set the current peer: no host allowed (the service's host is an IP address)")
            self._nginx_error(x, r, 500)
            raise _Answered
        replay = Replay(request, self._settings.max_body)
        await replay.prepare(x.route is None or x.route["request_buffering"])
        left = service["retries"] if x.retries is None else x.retries
        x.proxied_at = time.monotonic()
        while True:
            peer = await self._peer(x, r, plan, service)
            started = time.monotonic()
            row: dict[str, Any] = {
                "ip": peer.ip,
                "port": peer.port,
                "balancer_start": int(time.time() * 1000),
            }
            x.tries.append(row)
            try:
                response = await self._try_one(x, replay, plan, service, peer)
            except BodyTooLarge:
                request.error = 413
                self._nginx_error(x, r, 413)
                raise _Answered from None
            except Failed as e:
                status = 504 if e.kind in _TIMEOUTS else 502
                x.upstream_status.append(status)
                may = e.kind in _RETRY_ANY_METHOD or x.method in _IDEMPOTENT
                if left > 0 and may and replay.possible:
                    left -= 1
                    row.update(state="next" if e.kind == "reset" else "failed", code=status)
                    continue
                log.info("upstream %s:%d: %s", peer.ip, peer.port, e.kind)
                self._after_tries(x)
                self._nginx_error(x, r, status)
                raise _Answered from None
            row["balancer_latency"] = 0
            x.upstream_status.append(response.status)
            x.upstream_seconds = time.monotonic() - started
            self._lua.mark(r, "KONG_PROXIED")
            return response

    def _after_tries(self, x: Exchange) -> None:
        assert x.proxied_at is not None
        x.upstream_seconds = time.monotonic() - x.proxied_at

    async def _peer(self, x: Exchange, r: Any, plan: Plan, service: Mapping[str, Any]) -> balancer.Peer:
        host, port = x.upstream_target or (x.upstream_name or service["host"], service["port"])
        try:
            return await plan.balancer.peer(host, port)
        except balancer.NoPeer:
            if x.tries:  # all gone while trying: nginx answers
                self._after_tries(x)
                self._nginx_error(x, r, 503)
                raise _Answered from None
            raise self._refuse(x, r, 503, "failure to get a peer from the ring-balancer") from None
        except balancer.NoName:
            raise self._refuse(x, r, 503, "name resolution failed") from None

    async def _try_one(
        self, x: Exchange, replay: Replay, plan: Plan, service: Mapping[str, Any], peer: balancer.Peer
    ) -> Response:
        tls = (x.upstream_scheme or service["protocol"]) == "https"
        connect = x.connect_timeout or service["connect_timeout"] / 1000
        read = x.read_timeout or service["read_timeout"] / 1000
        upstream = plan.balancer.upstreams.get(x.upstream_name or service["host"])
        headers = upstream_headers(
            x, peer, tls, upstream.get("host_header") if upstream else None, replay.length
        )
        target = upstream_target(x, service.get("path"))
        while True:
            connection = await self.pool.get(peer.ip, peer.port, tls, connect)
            try:
                return await connection.exchange(x.method, target, headers, replay.stream(), read)
            except Failed as e:
                connection.close()
                # an idle connection that its peer had closed is no failure of the upstream
                if not (connection.cached and e.kind == "reset" and replay.possible):
                    raise

    # -- back to the client --------------------------------------------------------------------------------
    async def _answer(self, x: Exchange, r: Any, request: Request, upstream: Response | None) -> None:
        if upstream is not None:
            x.status, x.reason = upstream.status, upstream.reason
            x.upstream_response_status = upstream.status
            x.resp_headers += response_headers(upstream.headers)
        elif x.body is None:
            x.body = ""
        if not get_first(x.resp_headers, "server"):
            x.resp_headers.append(("Server", SERVER))
        try:
            if not self._lua.output(r, "header_filter"):
                raise Abort("header_filter failed")
            self._finish_headers(x)
            x.sent = True
            reason = x.reason if x.reason is not None else http_errors.reason(x.status)
            body = self._body(x, request, upstream)
            x.bytes_sent = await request.connection.respond(x.status, reason, x.resp_headers, body)
        except Failed as e:
            raise Abort(str(e)) from e
        finally:
            if upstream is not None:
                await upstream.connection.release()

    def _body(self, x: Exchange, request: Request, upstream: Response | None) -> AsyncIterator[bytes] | bytes:
        if x.body is not None:
            return b"" if request.method == "HEAD" or x.status in (204, 304) else x.body.encode("latin-1")
        assert upstream is not None
        return upstream.connection.body()

    @staticmethod
    def _finish_headers(x: Exchange) -> None:
        names = (
            "x-kong-upstream-latency",
            "x-kong-proxy-latency",
            "x-kong-response-latency",
            "x-kong-request-id",
        )
        x.resp_headers = [p for p in x.resp_headers if p[0].lower() not in names]
        total = round((time.monotonic() - x.started_mono) * 1000)
        if x.upstream_seconds is not None:
            waited = round(x.upstream_seconds * 1000)
            x.resp_headers += [
                ("X-Kong-Upstream-Latency", str(waited)),
                ("X-Kong-Proxy-Latency", str(max(total - waited, 0))),
            ]
            via = get_first(x.resp_headers, "via")
            x.resp_headers = [p for p in x.resp_headers if p[0].lower() != "via"]
            x.resp_headers.append(("Via", f"{via}, 1.1 {SERVER}" if via else f"1.1 {SERVER}"))
        else:
            x.resp_headers.append(("X-Kong-Response-Latency", str(total)))
        x.resp_headers.append(("X-Kong-Request-Id", x.request_id))
        if (
            x.body is not None
            and x.status not in (204, 304)
            and not get_first(x.resp_headers, "content-length")
        ):
            x.resp_headers.append(("Content-Length", str(len(x.body))))
        if x.status == 204 or (x.status == 304 and x.body is not None):
            x.resp_headers = [p for p in x.resp_headers if p[0].lower() != "content-length"]
