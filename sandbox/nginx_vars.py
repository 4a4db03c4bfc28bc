"""ngx.var: the nginx variables that plugins read."""

from __future__ import annotations

import time
from collections.abc import Callable

from sandbox.exchange import Exchange, get_first

# nginx keeps the first of these only; other headers of one name are joined.
_SINGLE = frozenset({"host", "user_agent", "authorization", "content_length", "content_type", "referer"})


def read_var(x: Exchange, name: str) -> str | None:
    """The value of $name for this request, or None where nginx has none."""
    name = name.lower()
    if name in x.vars:
        return x.vars[name]
    if name.startswith("http_"):
        return _header(x, name[5:])
    if name.startswith(("sent_http_", "upstream_http_")):
        return get_first(x.resp_headers, name.split("http_", 1)[1].replace("_", "-"))
    if name.startswith("arg_"):
        return _argument(x, name[4:])
    if name.startswith("cookie_"):
        return _cookie(x, name[7:])
    reader = _READERS.get(name)
    return reader(x) if reader else None


def _header(x: Exchange, name: str) -> str | None:
    # nginx compares with dashes turned into underscores, so every spelling of a header is found
    values = [value for key, value in x.headers if key.lower().replace("-", "_") == name]
    if not values:
        return None
    return values[0] if name in _SINGLE else ("; " if name == "cookie" else ", ").join(values)


def _argument(x: Exchange, name: str) -> str | None:
    for part in (x.query or "").split("&"):
        key, mark, value = part.partition("=")
        if mark and key.lower() == name:
            return value
    return None


def _cookie(x: Exchange, name: str) -> str | None:
    for part in (_header(x, "cookie") or "").split(";"):
        key, mark, value = part.strip().partition("=")
        if mark and key.lower() == name:
            return value
    return None


def _upstream_seconds(x: Exchange) -> str | None:
    return None if x.upstream_seconds is None else f"{x.upstream_seconds:.3f}"


_READERS: dict[str, Callable[[Exchange], str | None]] = {
    "remote_addr": lambda x: x.remote_addr,
    "remote_port": lambda x: str(x.peer[1]),
    "realip_remote_addr": lambda x: x.peer[0],
    "realip_remote_port": lambda x: str(x.peer[1]),
    "host": lambda x: x.host,
    "scheme": lambda x: x.scheme,
    "https": lambda x: "on" if x.scheme == "https" else "",
    "request_uri": lambda x: x.target,
    "uri": lambda x: x.path or x.raw_path,
    "args": lambda x: x.query,
    "query_string": lambda x: x.query,
    "is_args": lambda x: "?" if x.query else "",
    "request_method": lambda x: x.method,
    "request": lambda x: f"{x.method} {x.target} HTTP/{x.http_version}",
    "server_protocol": lambda x: f"HTTP/{x.http_version}",
    "server_addr": lambda x: x.listener[0],
    "server_port": lambda x: str(x.listener[1]),
    "content_type": lambda x: get_first(x.headers, "content-type"),
    "content_length": lambda x: get_first(x.headers, "content-length"),
    "status": lambda x: str(x.status),
    "request_id": lambda x: x.request_id,
    "kong_request_id": lambda x: x.request_id,
    "request_time": lambda x: f"{time.monotonic() - x.started_mono:.3f}",
    "request_length": lambda x: str(len(x.target) + sum(len(k) + len(v) + 4 for k, v in x.headers)),
    "bytes_sent": lambda x: str(x.bytes_sent),
    "body_bytes_sent": lambda x: str(x.bytes_sent),
    "msec": lambda x: f"{time.time():.3f}",
    "pid": lambda x: "0",
    "upstream_status": lambda x: x.upstream_statuses or None,
    "upstream_addr": lambda x: ", ".join(f"{t['ip']}:{t['port']}" for t in x.tries) or None,
    "upstream_connect_time": lambda x: (
        ", ".join("0.000" if ok else "-" for ok in x.upstream_connected) or None
    ),
    "upstream_response_time": _upstream_seconds,
    "upstream_header_time": _upstream_seconds,
    "upstream_host": lambda x: x.vars.get("upstream_host"),
}
