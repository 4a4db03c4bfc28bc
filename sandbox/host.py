"""The functions that the Lua shim calls: the exchange's data, encodings, clocks. No waiting here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import platform
import re
import time
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from sandbox import http_errors, lua_json
from sandbox.exchange import Exchange, clean, get_all, get_first, is_trusted, without
from sandbox.lua_values import Converter, from_text
from sandbox.nginx_vars import read_var
from sandbox.serialize import log_record
from sandbox.settings import Settings

log = logging.getLogger("sandbox.plugin")
_LEVELS = {5: logging.WARNING, 6: logging.INFO, 7: logging.INFO, 8: logging.DEBUG}
_METHODS = {2: "GET", 4: "HEAD", 8: "POST", 16: "PUT", 32: "DELETE", 512: "OPTIONS", 16384: "PATCH"}


class Host:
    """Builds the table of functions for one runtime.

    consumers: answers (kind, value) -> entity; kind is `key` (gives consumer and credential) or `name`.
    """

    def __init__(self, settings: Settings, table: Callable[..., Any], node_id: str) -> None:
        self.settings = settings
        self.table = table
        self.node_id = node_id
        self.values: Converter  # set once the Lua side has its null value
        self.upstreams: Callable[[], Mapping[str, Any]] = dict
        self.consumer_of_key: Callable[[str], tuple[Any, Any] | None] = lambda key: None
        self.consumer_by_name: Callable[[str], Any] = lambda name: None
        self.stopping = False

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Name -> function; a tuple becomes several Lua results."""
        found = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")}
        found["now"] = time.time
        return found

    # -- process ---------------------------------------------------------------------------------------
    def do_log(self, level: int, text: str) -> None:
        log.log(_LEVELS.get(level, logging.ERROR), "%s", text)

    def do_pid(self) -> int:
        return os.getpid()

    def do_exiting(self) -> bool:
        return self.stopping

    def do_prefix(self) -> str:
        return "/usr/local/kong/"

    def do_node_id(self) -> str:
        return self.node_id

    def do_hostname(self) -> str:
        return platform.node()

    def do_ip_trusted(self, ip: str) -> bool:
        return is_trusted(ip, self.settings.trusted_ips)

    def do_configuration(self) -> Any:
        return self.values.to_lua(
            {
                "database": "off",
                "role": "traditional",
                "plugins": list(self.settings.plugins),
                "nginx_worker_processes": "1",
                "real_ip_header": self.settings.real_ip_header,
                "log_level": "notice",
                "untrusted_lua": "sandbox",
            }
        )

    def do_reason(self, status: int) -> str:
        return http_errors.reason(status)

    def do_consumer_of_key(self, key: str) -> Any:
        return self.consumer_of_key(key)

    def do_consumer_by_name(self, name: str) -> Any:
        return self.consumer_by_name(name)

    # -- encodings -------------------------------------------------------------------------------------
    def do_json_encode(self, value: Any) -> Any:
        try:
            return lua_json.encode(value, self.values)
        except (TypeError, ValueError, RecursionError) as e:
            return None, f"Cannot serialise: {e}"

    def do_json_decode(self, text: str) -> Any:
        try:
            return True, lua_json.decode(text, self.values)
        except (ValueError, RecursionError) as e:
            return False, f"Expected value but found invalid token: {e}"

    def do_md5(self, s: str) -> str:
        return hashlib.md5(s.encode("latin-1"), usedforsecurity=False).hexdigest()

    def do_md5_bin(self, s: str) -> str:
        return hashlib.md5(s.encode("latin-1"), usedforsecurity=False).digest().decode("latin-1")

    def do_sha1_bin(self, s: str) -> str:
        return hashlib.sha1(s.encode("latin-1"), usedforsecurity=False).digest().decode("latin-1")

    def do_hmac_sha1(self, key: str, s: str) -> str:
        return hmac.digest(key.encode("latin-1"), s.encode("latin-1"), "sha1").decode("latin-1")

    def do_crc32(self, s: str) -> int:
        return zlib.crc32(s.encode("latin-1"))

    def do_b64encode(self, s: str, no_padding: bool) -> str:
        text = base64.b64encode(s.encode("latin-1")).decode()
        return text.rstrip("=") if no_padding else text

    def do_b64decode(self, s: str) -> str | None:
        try:
            return base64.b64decode(s + "=" * (-len(s) % 4), validate=True).decode("latin-1")
        except (binascii.Error, ValueError):
            return None

    def do_escape_uri(self, s: str) -> str:
        return urllib.parse.quote(s.encode("latin-1"), safe="!'()*-._~")

    def do_unescape_uri(self, s: str) -> str:
        return urllib.parse.unquote_to_bytes(s.replace("+", " ").encode("latin-1")).decode("latin-1")

    def do_encode_args(self, args: Any) -> str:
        parts = []
        for key, value in args.items():
            for one in value.values() if hasattr(value, "values") else [value]:
                parts.append(
                    self.do_escape_uri(key) + ("" if one is True else "=" + self.do_escape_uri(str(one)))
                )
        return "&".join(parts)

    def do_decode_args(self, text: str) -> Any:
        return self._query_table(text)

    # -- regular expressions (PCRE is close enough to re for what plugins write) ------------------------
    def _compile(self, pattern: str, options: str | None) -> re.Pattern[str]:
        flags = 0
        for option in options or "":
            flags |= {"i": re.I, "m": re.M, "s": re.S, "x": re.X}.get(option, 0)
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", pattern), flags)

    def _captures(self, match: re.Match[str]) -> Any:
        table = self.table()
        table[0] = match[0]
        for i, group in enumerate(match.groups(), 1):
            table[i] = False if group is None else group
        for name, group in match.groupdict().items():
            table[name] = False if group is None else group
        return table

    def do_re_match(self, s: str, pattern: str, options: str | None) -> Any:
        match = self._compile(pattern, options).search(s)
        return self._captures(match) if match else None

    def do_re_find(self, s: str, pattern: str, options: str | None) -> Any:
        match = self._compile(pattern, options).search(s)
        return (match.start() + 1, match.end()) if match else None

    def do_re_all(self, s: str, pattern: str, options: str | None) -> Any:
        return self.table(*[self._captures(m) for m in self._compile(pattern, options).finditer(s)])

    def do_re_sub(self, s: str, pattern: str, by: Any, options: str | None, count: int) -> Any:
        if isinstance(by, str):
            template = re.sub(r"\$\{?(\d+)\}?", r"\\g<\1>", by.replace("\\", "\\\\"))
            return self._compile(pattern, options).subn(template, s, count)
        return self._compile(pattern, options).subn(lambda m: str(by(self._captures(m))), s, count)

    # -- the request -----------------------------------------------------------------------------------
    def do_var_get(self, x: Exchange, name: str) -> str | None:
        return read_var(x, name)

    def do_var_set(self, x: Exchange, name: str, value: str | None) -> None:
        x.vars[name] = value or ""

    def do_forwarded(self, x: Exchange, what: str) -> str | None:
        if what == "prefix" and not (x.trusted and get_first(x.headers, "x-forwarded-prefix")):
            return x.matched if x.route and x.route.get("strip_path") and x.matched not in ("", "/") else None
        return x.forwarded(what)

    def do_peer_ip(self, x: Exchange) -> str:
        return x.peer[0]

    def do_req_method(self, x: Exchange) -> str:
        return x.method

    def do_req_set_method(self, x: Exchange, method: Any) -> None:
        x.method = _METHODS.get(method, str(method))

    def do_req_http_version(self, x: Exchange) -> float:
        return float(x.http_version)

    def do_req_start_time(self, x: Exchange) -> float:
        return x.started

    def do_req_path(self, x: Exchange) -> str:
        return x.path or x.raw_path

    def do_req_raw_path(self, x: Exchange) -> str:
        return x.raw_path

    def do_req_get_header(self, x: Exchange, name: str) -> str | None:
        value = get_first(x.headers, name)
        return value if value is not None else get_first(x.headers, name.replace("_", "-"))

    def do_req_headers(self, x: Exchange, limit: int) -> Any:
        return self._headers_table(x.headers, limit)

    def do_req_query(self, x: Exchange) -> Any:
        return self._query_table(x.query or "")

    def do_req_set_header(self, x: Exchange, name: str, value: Any) -> None:
        x.headers = without(x.headers, name)
        x.headers += [(name, clean(one)) for one in _strings(value)]

    def do_req_add_header(self, x: Exchange, name: str, value: Any) -> None:
        x.headers += [(name, clean(one)) for one in _strings(value)]

    def _headers_table(self, pairs: list[tuple[str, str]], limit: int) -> Any:
        table = self.table()
        for name, value in pairs[:limit] if limit > 0 else pairs:
            self._append(table, name.lower(), value)
        return table

    def _query_table(self, query: str) -> Any:
        table = self.table()
        for part in filter(None, query.split("&")):
            key, mark, value = part.partition("=")
            self._append(table, self.do_unescape_uri(key), self.do_unescape_uri(value) if mark else True)
        return table

    def _append(self, table: Any, key: str, value: Any) -> None:
        present = table[key]
        if present is None:
            table[key] = value
        elif isinstance(present, str | bool):
            table[key] = self.table(present, value)
        else:
            present[len(present) + 1] = value

    # -- towards the upstream --------------------------------------------------------------------------
    def do_set_upstream(self, x: Exchange, name: str) -> Any:
        if name not in self.upstreams():
            return None, f"could not find an Upstream named '{name}'"
        x.upstream_name = name
        return True

    def do_set_target(self, x: Exchange, host: str, port: int) -> None:
        x.upstream_target = (host, int(port))

    def do_set_retries(self, x: Exchange, retries: int) -> None:
        x.retries = int(retries)

    def do_set_timeouts(self, x: Exchange, connect: float, read: float) -> None:
        x.connect_timeout, x.read_timeout = connect / 1000, read / 1000

    def do_set_path(self, x: Exchange, path: str) -> None:
        x.upstream_path = path

    def do_set_query(self, x: Exchange, query: str) -> None:
        x.query = query or None

    def do_set_scheme(self, x: Exchange, scheme: str) -> None:
        x.upstream_scheme = scheme

    def do_upstream_response_status(self, x: Exchange) -> int | None:
        return x.upstream_response_status

    # -- the response ----------------------------------------------------------------------------------
    def do_resp_status(self, x: Exchange) -> int:
        return x.status

    def do_resp_set_status(self, x: Exchange, status: int) -> None:
        x.status, x.reason = int(status), None

    def do_resp_sent(self, x: Exchange) -> bool:
        return x.sent

    def do_resp_get_header(self, x: Exchange, name: str, many: bool) -> Any:
        values = get_all(x.resp_headers, name)
        if many and len(values) > 1:
            return self.table(*values)
        return values[0] if values else None

    def do_resp_set_header(self, x: Exchange, name: str, value: Any) -> None:
        x.resp_headers = without(x.resp_headers, name)
        x.resp_headers += [(name, clean(one)) for one in _strings(value)]

    def do_resp_add_header(self, x: Exchange, name: str, value: Any) -> None:
        x.resp_headers += [(name, clean(one)) for one in _strings(value)]

    def do_resp_headers(self, x: Exchange, limit: int) -> Any:
        return self._headers_table(x.resp_headers, limit)

    def do_resp_set_body(self, x: Exchange, body: str) -> None:
        x.body = body

    def do_resp_print(self, x: Exchange, text: str) -> None:
        x.body = (x.body or "") + text

    def do_error_body(self, x: Exchange, status: int, message: str | None) -> Any:
        text = message or http_errors.message_for(int(status))
        return http_errors.error_body(text, x.request_id, get_first(x.headers, "accept"))

    def do_serialize(self, x: Exchange) -> Any:
        return self.values.to_lua(_real(log_record(x)))


def _strings(value: Any) -> list[str]:
    if value is None:
        return []
    if hasattr(value, "values"):
        return [_string(one) for one in value.values()]
    return [_string(value)]


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _real(value: Any) -> Any:
    if isinstance(value, str):
        return from_text(value)
    if isinstance(value, dict):
        return {_real(key): _real(item) for key, item in value.items()}
    return [_real(item) for item in value] if isinstance(value, list) else value
