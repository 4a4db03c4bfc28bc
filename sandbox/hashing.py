"""The text by which a consistent-hashing upstream chooses, as Kong finds it in a request."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sandbox.exchange import Exchange, get_all
from sandbox.nginx_vars import read_var


def value_to_hash(upstream: Mapping[str, Any], x: Exchange, consumer: str | None) -> str:
    """What to hash for a request; "" when there is nothing. consumer: the id of who was authenticated.

    A cookie that is missing is made up and noted on the exchange: the response sets it.
    """
    for stage in ("hash_on", "hash_fallback"):
        what = upstream.get(stage) or "none"
        if what == "none":
            return ""
        found = _find(what, stage, upstream, x, consumer)
        if found is not None:
            return found
    return ""


def _find(
    what: str, stage: str, upstream: Mapping[str, Any], x: Exchange, consumer: str | None
) -> str | None:
    if what == "consumer":
        return consumer
    if what == "ip":
        return x.remote_addr
    if what == "header":
        # Kong reads $http_NAME, so a name with a dash finds nothing
        name = str(upstream.get(f"{stage}_header") or "")
        return None if "-" in name else read_var(x, f"http_{name.lower()}")
    if what == "cookie":
        return _cookie(upstream, x)
    if what == "path":
        return x.path
    if what == "query_arg":
        return read_var(x, f"arg_{upstream.get(f'{stage}_query_arg') or ''}")
    captures = x.captures
    return captures.get(str(upstream.get(f"{stage}_uri_capture") or ""))


def _cookie(upstream: Mapping[str, Any], x: Exchange) -> str:
    name = str(upstream.get("hash_on_cookie") or "")
    found = read_var(x, f"cookie_{name.lower()}")
    if found is not None:
        return found
    value = str(uuid.uuid4())
    path = upstream.get("hash_on_cookie_path") or "/"
    x.hash_cookie = f"{name}={value}; Path={path}; Same-Site=Lax; HttpOnly"
    return value


def set_cookie(x: Exchange) -> None:
    """Put the made-up cookie on the response, unless the upstream set one of that name."""
    if x.hash_cookie is None:
        return
    name = x.hash_cookie.partition("=")[0] + "="
    if not any(value.startswith(name) for value in get_all(x.resp_headers, "set-cookie")):
        x.resp_headers.append(("Set-Cookie", x.hash_cookie))
