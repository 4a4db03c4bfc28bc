"""Connections to Redis: the URL, TLS, timeouts, and the names of keys."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_SECONDS = 0.8
ANSWER_SECONDS = 1.0
"""Together less than the 2 s in which a command must say that Redis is away. No request of a client waits."""
SCHEMA = "v2"

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_ERROR = 300
_SCRIPT = re.compile(r"^.*@user_script: ?\d+: -?| script: [0-9a-f]{40}, on @user_script:\d+\.?$")
_PIPELINE = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
_OPTIONS = frozenset(
    (
        *("db", "username", "password", "client_name", "health_check_interval", "max_connections"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "ssl_ca_certs", "ssl_ca_path"),
        *(
            "ssl_ca_data",
            "ssl_certfile",
            "ssl_keyfile",
            "ssl_password",
            "ssl_cert_reqs",
            "ssl_check_hostname",
        ),
        *("ssl_min_version", "ssl_ciphers"),
    )
)
"""Of a URL's query. Others of redis-py would change what its answers are."""
_UNVERIFIED = {"ssl_cert_reqs": ("none", "optional"), "ssl_check_hostname": ("false", "no", "0", "")}


def key_prefix(namespace: str) -> str:
    """What all keys and channels of a namespace begin with; the hash tag puts them into one slot of a cluster.

    Raises ValueError for a namespace that is none.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"namespace: {namespace!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
    return f"kgate:{SCHEMA}:{{{namespace}}}:"


def display_address(url: str) -> str:
    """The URL without user, password and query, for messages.

    A password with an unescaped "/" or "?" ends up in the wrong part of the URL: then only the scheme is
    shown.
    """
    scheme, _, rest = url.partition("://")
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{scheme}://..."
    if not rest or "@" in parts.path + parts.query + parts.fragment:
        return f"{scheme}://..." if rest else "(not a URL)"
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def error_text(error: Exception) -> str:
    """Redis's words, without the place in a script and without the values that an error of a pipeline quotes."""
    return _SCRIPT.sub("", _PIPELINE.sub("", str(error)))[:_MAX_ERROR]


def _check_parts(scheme: str, path: str, query: str) -> None:
    """Raises ValueError for what redis-py passes over, or stumbles over when it connects."""
    for option in parse_qs(query, keep_blank_values=True):
        if option not in _OPTIONS:
            raise ValueError(f"there is no option {option!r}")
    if scheme in ("redis", "rediss") and not re.fullmatch(r"(/[0-9]{0,9})?", path, re.ASCII):
        raise ValueError(f"{path.strip('/')!r} is no number of a database")


def connect(url: str, ca_file: str | None = None, client: Any = redis.Redis, **options: Any) -> Any:
    """A Redis client for redis://, rediss:// (TLS) or unix://; user and password (ACL) stand in the URL.

    client: the class, redis.Redis or that of redis.asyncio. ca_file: PEM of the authorities that may sign the
    server's certificate, else the system's. The certificate and its name are always checked: whoever answers in
    Redis's place says who is blocked.
    Nothing is connected yet. Raises ValueError for a URL that is none. The answer is Any: redis-py's types do
    not know that decode_responses makes every answer a str.
    """
    address = display_address(url)
    settings: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        # a change must not be made twice, and the caller knows better when to try again
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": True,
        "max_connections": 16,
        **options,
    }
    try:
        parts = urlsplit(url)
        _check_parts(parts.scheme, parts.path, parts.query)
        if parts.scheme == "rediss":
            for option, values in parse_qs(parts.query, keep_blank_values=True).items():
                if values[-1].lower() in _UNVERIFIED.get(option, ()):
                    raise ValueError(f"{option} is refused: the certificate must be checked, give a CA file")
            settings |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
            if ca_file is not None:
                settings["ssl_ca_certs"] = ca_file
        elif ca_file is not None:
            raise ValueError("a CA file goes with rediss:// only")
        return client.from_url(url, **settings)
    except ValueError as error:
        raise ValueError(f"redis URL {address}: {error}") from error
