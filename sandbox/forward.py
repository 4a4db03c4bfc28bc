"""What Kong changes of the headers and of the request line between client and upstream."""

from __future__ import annotations

from decl.paths import escape, join
from sandbox.balancer import Peer
from sandbox.exchange import Exchange, Pairs, get_all, get_first

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "transfer-encoding",
        "expect",
        "proxy",
        "content-length",
        "te",
    }
)
_REPLACED = frozenset(
    {
        "host",
        "x-real-ip",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-path",
        "x-forwarded-prefix",
        "x-kong-request-id",
        "via",
    }
)
_WEBSOCKET = [("Upgrade", "websocket"), ("Connection", "keep-alive, Upgrade")]
_RESPONSE_DROPPED = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "trailer"})
_NGINX_HIDES = frozenset(
    {
        "x-pad",
        "x-accel-expires",
        "x-accel-redirect",
        "x-accel-limit-rate",
        "x-accel-buffering",
        "x-accel-charset",
    }
)


def upstream_headers(
    x: Exchange, peer: Peer, tls: bool, host_header: str | None, length: int | None
) -> Pairs:
    """The headers of the request to the upstream. length: of the body; None for a body of unknown length,
    -1 for none."""
    named = {
        name.strip().lower()
        for value in get_all(x.headers, "connection")
        for name in value.split(",")
        if name.strip()
    }
    drop = _HOP_BY_HOP | _REPLACED | named
    websocket = (get_first(x.headers, "upgrade") or "").lower() == "websocket"
    via = get_first(x.headers, "via")
    version = "1" if x.http_version == "1.0" else x.http_version
    headers: Pairs = [
        ("Host", _host(x, peer, tls, host_header)),
        *(_WEBSOCKET if websocket else [("Connection", "keep-alive")]),
        ("Via", f"{via}, {version} kong/3.9.3" if via else f"{version} kong/3.9.3"),
        ("X-Forwarded-For", _forwarded_for(x)),
    ]
    for what, name in (("scheme", "Proto"), ("host", "Host"), ("port", "Port"), ("path", "Path")):
        headers.append((f"X-Forwarded-{name}", x.forwarded(what) or ""))
    prefix = x.forwarded("prefix") or (x.matched if x.route and x.route["strip_path"] else "")
    if prefix not in ("", "/"):
        headers.append(("X-Forwarded-Prefix", prefix))
    headers.append(("X-Real-IP", x.remote_addr))
    headers.append(("X-Kong-Request-Id", x.request_id))
    if any("trailers" in value.lower() for value in get_all(x.headers, "te")):
        headers.append(("TE", "trailers"))
    if length is None:
        headers.append(("Transfer-Encoding", "chunked"))
    elif length >= 0:
        headers.append(("Content-Length", str(length)))
    return headers + [pair for pair in x.headers if pair[0].lower() not in drop]


def _forwarded_for(x: Exchange) -> str:
    present = get_first(x.headers, "x-forwarded-for")  # further ones are lost, as in Kong
    return f"{present}, {x.peer[0]}" if present else x.remote_addr


def _host(x: Exchange, peer: Peer, tls: bool, host_header: str | None) -> str:
    if x.route and x.route["preserve_host"] and x.host_header:
        return x.host_header
    if x.vars.get("upstream_host"):  # a plugin set the Host header
        return x.vars["upstream_host"]
    if x.upstream_target:
        return peer.host
    default = peer.port == (443 if tls else 80)
    name = f"[{peer.host}]" if ":" in peer.host else peer.host
    return (host_header or name) + ("" if default else f":{peer.port}")


def upstream_target(x: Exchange, base: str | None) -> str:
    """The request target that the upstream sees."""
    if x.upstream_path is not None:
        path = x.upstream_path
    else:
        strip = bool(x.route and x.route["strip_path"])
        path = join(base, x.matched, x.path, strip)
    return escape(path) + ("" if x.query is None else "?" + x.query)


def response_headers(headers: Pairs, switched: bool = False) -> Pairs:
    """The upstream's response headers less those of its own connection. switched: it answered 101."""
    if switched:
        return [pair for pair in headers if pair[0].lower() not in ("keep-alive", "transfer-encoding")]
    named = {
        name.strip().lower()
        for value in get_all(headers, "connection")
        for name in value.split(",")
        if name.strip()
    }
    drop = _RESPONSE_DROPPED | _NGINX_HIDES | named
    return [pair for pair in headers if pair[0].lower() not in drop]
