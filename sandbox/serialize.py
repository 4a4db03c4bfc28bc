"""The record that Kong's log plugins write (kong.log.serialize), less route, service and consumer."""

from __future__ import annotations

import time
from typing import Any

from sandbox.exchange import Exchange, Pairs
from sandbox.forward import upstream_target

_REDACTED = ("authorization", "proxy-authorization")


def log_record(x: Exchange) -> dict[str, Any]:
    """Keys and types as Kong 3.9 has them; `route`, `service`, `source` are added by the caller."""
    total = round((time.monotonic() - x.started_mono) * 1000)
    waiting = -1 if x.upstream_seconds is None else round(x.upstream_seconds * 1000)
    headers = _headers(x.headers)
    for name in _REDACTED:
        if name in headers:
            headers[name] = "REDACTED"
    query = {}
    for part in filter(None, (x.query or "").split("&")):
        key, mark, value = part.partition("=")
        query[key] = value if mark else True
    record: dict[str, Any] = {
        "request": {
            "id": x.request_id,
            "method": x.method,
            "uri": x.target,
            "url": f"{x.scheme}://{x.host}:{x.listener[1]}{x.target}",
            "size": len(x.target) + sum(len(k) + len(v) + 4 for k, v in x.headers),
            "querystring": query,
            "headers": headers,
        },
        "response": {"status": x.status, "size": x.bytes_sent, "headers": _headers(x.resp_headers)},
        "latencies": {
            "request": total,
            "kong": max(total - max(waiting, 0), 0),
            "proxy": waiting,
            "receive": 0,
        },
        "client_ip": x.remote_addr,
        "started_at": int(x.started * 1000),
        "workspace": "0dc6f45b-8f8d-40d2-a504-473544ee190b",
        "workspace_name": "default",
    }
    record["upstream_status"] = x.upstream_statuses
    record["upstream_uri"] = ""
    if x.route is not None:
        record["tries"] = x.tries
        record["upstream_uri"] = upstream_target(x, (x.service or {}).get("path"))
    return record


def _headers(pairs: Pairs) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in pairs:
        key = name.lower()
        if key not in out:
            out[key] = value
        elif isinstance(out[key], list):
            out[key].append(value)
        else:
            out[key] = [out[key], value]
    return out
