"""The functions that the Lua shim calls: the exchange's data, encodings, clocks. No waiting here."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

from sandbox import http_errors
from sandbox.balancer import is_ip
from sandbox.exchange import Exchange, clean, get_all, get_first, is_trusted, without
from sandbox.host_text import TextFunctions
from sandbox.lua_values import Converter, from_text
from sandbox.nginx_vars import read_var
from sandbox.serialize import log_record
from sandbox.settings import Settings

log = logging.getLogger("sandbox.plugin")
_LEVELS = {5: logging.WARNING, 6: logging.INFO, 7: logging.INFO, 8: logging.DEBUG}
_METHODS = {2: "GET", 4: "HEAD", 8: "POST", 16: "PUT", 32: "DELETE", 512: "OPTIONS", 16384: "PATCH"}


class Host(TextFunctions):
    """Builds the table of functions for one runtime.

    consumers: answers (kind, value) -> entity; kind is `key` (gives consumer and credential) or `name`.
    """

    def __init__(
        self, settings: Settings, table: Callable[..., Any], node_id: str, number: int = 0, workers: int = 1
    ) -> None:
        self.settings = settings
        self.number, self.workers = number, workers
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
        return os.getpid() + self.number  # the workers of a Kong have different ones

    def do_worker(self) -> tuple[int, int]:
        return self.number, self.workers

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
                "database": self.settings.database,
                "role": self.settings.role,
                "plugins": list(self.settings.plugins),
                "nginx_worker_processes": str(self.workers),
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
        return self.query_table(x.query or "")

    def do_req_set_header(self, x: Exchange, name: str, value: Any) -> None:
        x.headers = without(x.headers, name)
        x.headers += [(name, clean(one)) for one in _strings(value)]

    def do_req_add_header(self, x: Exchange, name: str, value: Any) -> None:
        x.headers += [(name, clean(one)) for one in _strings(value)]

    def _headers_table(self, pairs: list[tuple[str, str]], limit: int) -> Any:
        table = self.table()
        for name, value in pairs[:limit] if limit > 0 else pairs:
            self.append(table, name.lower(), value)
        return table

    # -- towards the upstream --------------------------------------------------------------------------
    def do_host_type(self, host: str) -> str:
        if not is_ip(host):
            return "name"
        return "ipv6" if ":" in host else "ipv4"

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
        # as measured: the write timeout of kong.service.set_timeouts has no effect
        x.connect_timeout, x.read_timeout = connect / 1000, read / 1000

    def do_captures(self, x: Exchange) -> Any:
        return self.values.to_lua(x.captures)

    def do_body_data(self, x: Exchange) -> str | None:
        return x.body_seen

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
