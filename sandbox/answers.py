"""The answers that Kong and nginx make themselves, put on an exchange; and the headers that every answer gets."""

from __future__ import annotations

import json
import time

from sandbox import http_errors
from sandbox.exchange import Exchange, get_first
from sandbox.reasons import nginx_page

SERVER = "kong/3.9.3"
_GRPC = "application/grpc"


def kong_error(x: Exchange, status: int, message: str) -> None:
    """An answer of Kong's core or of a phase that failed."""
    accept = _accept(x)
    kind, body = http_errors.error_body(message, x.request_id, accept)
    if accept is not None and accept.startswith(_GRPC):
        kind, body = " ", ""
    put(x, status, kind, body)


def nginx_error(x: Exchange, status: int, blind: bool = False) -> None:
    """An answer of nginx. blind: it came before the headers were read."""
    if status in (500, 501, 505):
        x.close = True  # nginx ends the connection after these
    if status in (501, 505):  # these have no error_page in Kong's nginx.conf
        put(x, status, "text/html; charset=UTF-8", nginx_page(status))
        return
    accept = None if blind else _accept(x) or get_first(x.headers, "content-type")
    kind, body = http_errors.nginx_error(status, x.request_id, accept)
    if accept is not None and accept.startswith(_GRPC):
        kind = "application/json; charset=utf-8"
        body = json.dumps({"message": http_errors.message_for(status)}, separators=(",", ":"))
    put(x, 400 if status == 494 else status, kind, body)


def put(x: Exchange, status: int, kind: str, body: str) -> None:
    """Make this the exchange's answer."""
    x.status, x.reason, x.body = status, None, body
    x.resp_headers = [p for p in x.resp_headers if p[0].lower() not in ("content-type", "content-length")]
    x.resp_headers += [("Content-Type", kind), ("Content-Length", str(len(body)))]


def _accept(x: Exchange) -> str | None:
    """All that the client accepts, as one value."""
    found = [value for name, value in x.headers if name.lower() == "accept"]
    return ", ".join(found) if found else None


def finish_headers(x: Exchange) -> None:
    """What Kong itself adds to each answer."""
    latencies = ("x-kong-upstream-latency", "x-kong-proxy-latency")
    names = {"x-kong-request-id", *(latencies if x.proxied else ("x-kong-response-latency",))}
    x.resp_headers = [p for p in x.resp_headers if p[0].lower() not in names]
    total = round((time.monotonic() - x.started_mono) * 1000)
    if x.proxied:
        waited = round((x.upstream_seconds or 0) * 1000)
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
    if x.body is not None and x.status not in (204, 304) and not get_first(x.resp_headers, "content-length"):
        x.resp_headers.append(("Content-Length", str(len(x.body))))
    if x.status == 204 or (x.status == 304 and x.body is not None):
        x.resp_headers = [p for p in x.resp_headers if p[0].lower() != "content-length"]
