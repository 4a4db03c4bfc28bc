"""The proxy: takes a request through Kong's phases, to the upstream and back.

rewrite (global plugins) -> route -> access -> upstream, with retries -> header_filter -> client -> log.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from decl import paths, routing
from sandbox import answers, balancer
from sandbox.attempts import Attempts, Refused
from sandbox.exchange import Exchange, get_first
from sandbox.forward import response_headers
from sandbox.hashing import set_cookie
from sandbox.leaving import Left, unless_left
from sandbox.lua_runtime import Lua
from sandbox.reasons import nginx_page, nginx_reason
from sandbox.replay import Replay
from sandbox.request import Abort, BodyTooLarge, Request
from sandbox.settings import Settings
from sandbox.upstream import Failed, Response, UpstreamPool
from sandbox.wire import BadRequest

log = logging.getLogger("sandbox")
_SERVED = ("http", "https")


@dataclass(frozen=True)
class Plan:
    """What a configuration means for the proxy; replaced as a whole by each POST /config."""

    router: routing.Router = field(default_factory=lambda: routing.Router([]))
    balancer: balancer.Balancer = field(default_factory=lambda: balancer.Balancer([], []))
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lua_entities: Mapping[str, Any] = field(default_factory=dict)  # id -> Lua table of a route or service
    reads_paths: bool = True  # whether any route looks at the path


class _BadLine(BadRequest):
    """A request line that is refused before the headers are read: nobody knows what the client accepts."""


class _Answered(Exception):
    """The answer stands on the exchange; the upstream is not asked."""


class Proxy:
    """Handles requests of the proxy listener, as one Kong worker.

    watch: is given each finished request's log record; None costs nothing.
    """

    def __init__(self, settings: Settings, lua: Lua, listener: tuple[str, int]) -> None:
        self._settings, self._lua = settings, lua
        self.listener = listener
        self.plan = Plan()
        self.pool = UpstreamPool()
        self.watch: Callable[[Mapping[str, Any]], None] | None = None
        lua.host.upstreams = lambda: self.plan.balancer.upstreams

    async def handle(self, request: Request) -> None:
        """One request, from its head to the log phase. Raises Abort."""
        x = Exchange(
            request.method, request.target, request.version, request.headers, request.peer, self.listener
        )
        x.authority = request.authority
        x.replay = replay = Replay(request, self._settings.max_body)
        x.find_client(
            self._settings.trusted_ips, self._settings.real_ip_header, self._settings.real_ip_recursive
        )
        r = self._lua.context(x)
        upstream: Response | None = None
        try:
            with contextlib.suppress(_Answered):
                upstream = await self._ask(x, r, request, replay)
            await self._answer(x, r, request, upstream)
        finally:
            replay.close()
            self._lua.output(r, "log")
            if x.attempts is not None:
                x.attempts.finish()
            if self.watch is not None:
                self.watch(self._lua.log_record(r))

    # -- until there is an answer --------------------------------------------------------------------------
    async def _ask(self, x: Exchange, r: Any, request: Request, replay: Replay) -> Response:
        try:
            self._check(x, request)
            response = await self._route(x, r, replay)
            if self._lua.buffers(r) and response.status != 101:
                await self._buffer(x, r, response)
            return response
        except Refused as e:
            if e.message is not None:
                raise self._refuse(x, r, e.status, e.message) from None
            self._nginx_error(x, r, e.status)
        except BodyTooLarge:
            request.error = 413
            self._nginx_error(x, r, 413)
        except BadRequest as e:
            request.error = e.status  # what follows on this connection is not to be trusted
            self._nginx_error(x, r, e.status, blind=isinstance(e, _BadLine))
        raise _Answered

    def _check(self, x: Exchange, request: Request) -> None:
        if request.error not in (None, 405):
            raise BadRequest(request.error)
        try:
            paths.check_raw(x.raw_path)
        except paths.BadPath:
            raise _BadLine(400) from None
        if request.error is not None:
            raise BadRequest(request.error)
        if request.length is not None and 0 < self._settings.max_body < request.length:
            raise BodyTooLarge

    async def _route(self, x: Exchange, r: Any, replay: Replay) -> Response:
        await self._phase(x, r, "rewrite")
        x.path = paths.normalise(x.raw_path)
        plan = self.plan
        headers: dict[str, list[str]] = {}
        for name, value in x.headers:
            headers.setdefault(name.lower(), []).append(value)
        asked = routing.Request(x.method, x.host_header, self.listener[1], x.path, headers)
        match = plan.router.match(asked) if not plan.reads_paths or _is_text(x.path) else None
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
        if (x.upstream_scheme or service["protocol"]) not in _SERVED:
            message = f"kgate sandbox: services of protocol '{service['protocol']}' are not part of it"
            raise self._refuse(x, r, 501, message)
        consumer = self._lua.consumer_id(r)
        x.attempts = Attempts(
            x, service, plan.balancer, self.pool, consumer, lambda count: self._lua.tried(r, count)
        )
        await x.attempts.choose()
        self._lua.mark(r, "KONG_PROXIED")
        x.proxied = True
        x.try_started = time.monotonic()
        replay.request.connection.go_on()
        if match.route["request_buffering"]:
            await replay.prepare()
        try:
            return await unless_left(replay.request.connection, x.attempts.send(replay))
        except Left:
            x.status, x.left = 499, True
            raise
        finally:
            x.upstream_seconds = time.monotonic() - x.try_started

    async def _buffer(self, x: Exchange, r: Any, upstream: Response) -> None:
        """The `response` phase: all of the upstream's answer is there, nothing of it was sent. Raises _Answered."""
        try:
            body = b"".join([part async for part in upstream.connection.body()]).decode("latin-1")
        except Failed:
            raise Refused(upstream.status) from None  # Kong keeps the status, and has words for any
        finally:
            await upstream.connection.release()
        self._take(x, upstream)
        x.body, x.reason = body, None
        await self._phase(x, r, "response", upstream.status, body)
        raise _Answered

    @staticmethod
    def _take(x: Exchange, upstream: Response) -> None:
        x.status, x.reason = upstream.status, upstream.reason
        x.upstream_response_status = upstream.status
        x.resp_headers += response_headers(upstream.headers, upstream.status == 101)
        set_cookie(x)

    async def _phase(self, x: Exchange, r: Any, phase: str, *args: Any) -> None:
        outcome = await self._lua.run(r, phase, *args)
        if outcome == "done":
            return
        if outcome == "error" and phase in ("rewrite", "response"):
            self._nginx_error(x, r, 500)
        elif outcome == "error":
            self._lua.mark(r, "KONG_UNEXPECTED")
            answers.kong_error(x, 500, "An unexpected error occurred")
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
        answers.put(x, status, "text/html", nginx_page(status))
        self._lua.mark(r, "KONG_EXITED")
        raise _Answered

    def _refuse(self, x: Exchange, r: Any, status: int, message: str) -> _Answered:
        self._lua.mark(r, "KONG_EXITED")
        answers.kong_error(x, status, message)
        return _Answered()

    def _nginx_error(self, x: Exchange, r: Any, status: int, blind: bool = False) -> None:
        self._lua.mark(r, "KONG_UNEXPECTED")
        answers.nginx_error(x, status, blind)

    # -- back to the client --------------------------------------------------------------------------------
    async def _answer(self, x: Exchange, r: Any, request: Request, upstream: Response | None) -> None:
        if upstream is not None:
            self._take(x, upstream)
        elif x.body is None:
            x.body = ""
        if not get_first(x.resp_headers, "server"):
            x.resp_headers.append(("Server", answers.SERVER))
        try:
            if not self._lua.output(r, "header_filter"):
                raise Abort("header_filter failed")
            answers.finish_headers(x)
            x.sent = True
            x.bytes_sent = await self._send(x, r, request, upstream)
        except Failed as e:
            raise Abort(str(e)) from e
        finally:
            if upstream is not None:
                await upstream.connection.release()

    async def _send(self, x: Exchange, r: Any, request: Request, upstream: Response | None) -> int:
        client = request.connection
        if x.close and request.error is None:
            request.error = x.status
        if upstream is not None and x.body is None:
            if upstream.version == "0.9":
                request.error = 502  # nothing can follow on this connection
                return await client.respond_raw(upstream.connection.body())
            if x.status == 101:
                request.error = 101
                return await client.tunnel(x.resp_headers, *upstream.connection.upgraded())
        reason = x.reason if x.reason is not None else nginx_reason(x.status)
        body = self._body(x, request, upstream)
        if self._lua.filters_body(r):
            body = self._filtered(r, body)
        # Kong passes the upstream's Date on, and adds none of its own to the upstream's answers
        answer = client.respond(x.status, reason, x.resp_headers, body, date=upstream is None)
        return await (unless_left(client, answer) if upstream is not None else answer)

    async def _filtered(self, r: Any, body: AsyncIterator[bytes] | bytes) -> AsyncIterator[bytes]:
        if isinstance(body, bytes):
            parts = [body] if body else []
        else:
            parts = []
            async for part in body:
                yield self._filter(r, part, last=False)
        for part in parts:
            yield self._filter(r, part, last=False)
        yield self._filter(r, b"", last=True)

    def _filter(self, r: Any, part: bytes, last: bool) -> bytes:
        out = self._lua.body_filter(r, part, last)
        if out is None:
            raise Abort("body_filter failed")
        return out

    def _body(self, x: Exchange, request: Request, upstream: Response | None) -> AsyncIterator[bytes] | bytes:
        if x.body is not None:
            return b"" if request.method == "HEAD" or x.status in (204, 304) else x.body.encode("latin-1")
        assert upstream is not None
        return upstream.connection.body()


def _is_text(path: str) -> bool:
    """Whether a path (bytes as latin-1) is UTF-8: to Kong's router no other is like any path."""
    try:
        path.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True
