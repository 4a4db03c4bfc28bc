"""The gate plugins under stock kong-python-pluginserver, with plain PDK calls.

Slower and unguarded: when that server dies, Kong lets requests pass. Use `kgate serve` where you can. Each
plugin decides alone; abuse-guard makes its first pass only; canary-router reads the user that passport left
in kong.ctx.shared. The server's configuration is the file that KGATE_SERVER_CONFIG names; KGATE_RUN_DIR
(default: the working directory) keeps its keys.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from kong_plugins.abuse_guard import core as abuse_guard
from kong_plugins.canary_router import core as canary_router
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.chain import Filter
from kong_plugins.engine.facts import MAX_HEADER_BYTES, Facts, Identity
from kong_plugins.engine.problem import problem
from kong_plugins.engine.registry import PLUGINS, VERSION, parse_config
from kong_plugins.engine.verdict import Verdict
from kong_plugins.identity.trust_config import build_trust
from kong_plugins.passport import core as passport
from kong_plugins.server.config import load
from kong_plugins.server.pdk_lane import exit_args
from kong_plugins.state.base import Snapshot, State
from kong_plugins.state.deltas import Delta
from kong_plugins.state.follower import Built, Follower, build_here
from kong_plugins.state.open import open_store
from kong_plugins.static_fallback import core as static_fallback

log = logging.getLogger("kgate.stock")

USER = "kgate_user"
"""Key in kong.ctx.shared under which passport leaves [issuer, subject] for the plugins after it."""
FIRST_STATE_SECONDS = 3.0
"""The first instance waits no longer than this for the control state; without one its routes are closed."""
TENANT_TAG = "kgate-tenant:"

FILTERS: dict[str, Filter] = {
    "abuse-guard": abuse_guard.decide_stranger,
    "passport": passport.decide,
    "canary-router": canary_router.decide,
    "static-fallback": static_fallback.decide,
}


class _Shared:
    """Trust and control state of this process, made at the first plugin instance."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = False
        self.state: State | None = None

    def start(self) -> None:
        with self._lock:
            if self._started:
                return
            path = os.environ.get("KGATE_SERVER_CONFIG")
            config = load(Path(path) if path else None, os.environ)
            trust = build_trust(config.trust, config.base_dir, Path(os.environ.get("KGATE_RUN_DIR", ".")))
            redis = config.redis
            store = open_store(redis.url, redis.namespace, redis.ca_file)
            self._trust = trust
            trust.start()
            follower = Follower(
                store, self, build_here(store, redis.namespace), poll_seconds=redis.poll_seconds
            )
            follower.start()
            follower.tried.wait(FIRST_STATE_SECONDS)
            self._started = True

    def image(self, _built: Built, _deltas: list[Delta], snapshot: Snapshot, _restarted: bool) -> None:
        """A new image of the control state, from the follower's thread."""
        self.state = State(snapshot, self._trust)

    def delta(self, _delta: Delta, snapshot: Snapshot) -> None:
        """A change of it."""
        self.state = State(snapshot, self._trust)


SHARED = _Shared()


def _value(answer: Any) -> Any:
    """A PDK answer: under Lua-style results it is (value, error)."""
    return answer[0] if isinstance(answer, tuple) else answer


def _canonical(ip: str) -> str:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _read_facts(kong: Any) -> Facts:
    """The same facts as the adapter collects, by PDK calls."""
    headers, truncated = {}, set()
    for name, values in dict(_value(kong.request.get_headers(1000)) or {}).items():
        text = ", ".join(values) if isinstance(values, list) else str(values)
        if len(text) > MAX_HEADER_BYTES:
            truncated.add(name.lower())
        headers[name.lower()] = text[:MAX_HEADER_BYTES]
    route = _value(kong.router.get_route()) or {}
    service = _value(kong.router.get_service()) or {}
    tags = route.get("tags") or []
    tenant = next((tag[len(TENANT_TAG) :] for tag in tags if tag.startswith(TENANT_TAG)), "")
    user = _value(kong.ctx.shared.get(USER))
    return Facts(
        request_id=str(_value(kong.nginx.get_var("kong_request_id")) or ""),
        ip=_canonical(str(_value(kong.client.get_forwarded_ip()) or "")),
        scheme=str(_value(kong.request.get_scheme()) or ""),
        method=str(_value(kong.request.get_method()) or ""),
        host=str(_value(kong.request.get_host()) or ""),
        path=str(_value(kong.request.get_path()) or ""),
        raw_path=str(_value(kong.request.get_raw_path()) or ""),
        route=str(route.get("name") or ""),
        service=str(service.get("name") or ""),
        tenant=tenant,
        traceparent=headers.get("traceparent", ""),
        truncated=frozenset(truncated),
        headers=headers,
        identity=Identity(str(user[0]), str(user[1])) if isinstance(user, list) and len(user) == 2 else None,
    )


def _apply(kong: Any, verdict: Verdict) -> None:
    """Last and once: kong.response.exit ends the event."""
    if verdict.is_exit:
        kong.response.exit(*exit_args(verdict))
        return
    if verdict.identity is not None:
        kong.ctx.shared.set(USER, [verdict.identity.issuer, verdict.identity.subject])
    for name, value in verdict.service_headers:
        kong.service.request.clear_header(name.replace("-", "_"))
        if value:
            kong.service.request.set_header(name, value)
        else:
            kong.service.request.clear_header(name)
    for name, value in verdict.headers:
        kong.response.set_header(name, value)
    if verdict.upstream:
        kong.service.set_upstream(verdict.upstream)


def plugin_class(name: str) -> type:
    """The kong-pdk `Plugin` class of one gate plugin."""

    class Plugin:
        def __init__(self, config: dict[str, Any]) -> None:
            self.config = parse_config(name, config)
            SHARED.start()

        def access(self, kong: Any) -> None:
            verdict: Verdict | None = None
            try:
                if SHARED.state is not None:
                    decide, facts, now = FILTERS[name], _read_facts(kong), time.time()
                    found = decide(facts, self.config, SHARED.state, now)
                    if isinstance(found, Ask):  # nobody answers here
                        unanswered = SHARED.state._replace(answers={found.key: None})
                        found = decide(facts, self.config, unanswered, now)
                    verdict = found if isinstance(found, Verdict) else Verdict()
            except Exception:  # an exception that escapes hangs kong-pdk's server for good
                log.exception("%s failed", name)
            if verdict is None:
                if self.config.fail == "open":
                    return
                verdict = problem(503, "no_verdict", "The gateway could not decide.", "")
            _apply(kong, verdict)

    return Plugin


def schema_of(name: str) -> list[dict[str, Any]]:
    """The kong-pdk `Schema` of one gate plugin: the fields of its config."""
    return PLUGINS[name].schema


def version_of(_name: str) -> str:
    """The kong-pdk `version`: the pack has one."""
    return VERSION


def priority_of(name: str) -> int:
    """The kong-pdk `priority`."""
    return PLUGINS[name].priority
