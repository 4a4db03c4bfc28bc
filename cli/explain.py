"""What the gateway would do with a request: its route by Kong's rules, then the real filters on the live state."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from cli import abuse_rules
from cli.errors import FailedError, UsageError
from cli.report import state as report
from cli.rules import canary_rule, detail_of, held_breaker, limit_notes, state_rule
from cli.told_limits import ToldLimits
from decl.model import Gateway, Route, Service, effective
from decl.paths import BadPath, normalise
from decl.plugin_sources import to_kong
from decl.render import render
from decl.routing import Request, Router
from decl.select import select
from decl.server_config import server_config
from kong_plugins.abuse_guard.limits import ASK_KIND
from kong_plugins.engine import chain as engine_chain
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import MAX_HEADER_BYTES, Facts
from kong_plugins.engine.registry import PLUGINS, parse_config
from kong_plugins.engine.verdict import Verdict
from kong_plugins.identity.http_get import FetchError, get
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.jwks import KeySet, parse_jwks
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.trust import PASSPORT_ISSUER, Trust
from kong_plugins.passport.core import HEADER as PASSPORT_HEADER
from kong_plugins.state.addresses import parse_address
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.limits import Limited
from kong_plugins.state.snapshot import Snapshot

FETCH_SECONDS = 3.0


class Asked(NamedTuple):
    """The request in question: url, method, client's address, further headers."""

    url: str
    method: str
    ip: str
    headers: tuple[tuple[str, str], ...]


class Found(NamedTuple):
    """Where the request goes: its facts, the route and its service, and the gate plugins that run, by name."""

    facts: Facts
    service: Service | None
    route: Route
    plugins: Mapping[str, Any]


class Step(NamedTuple):
    """One filter's say. outcome: pass, effects, ask, exit. rule: the verdict's reason id. why: in words."""

    plugin: str
    outcome: str
    rule: str
    why: str


class Explained(NamedTuple):
    """status: what the gateway answers itself, None when the request goes on. plugin and rule decided.
    upstream and arm: where a canary sends it. set_headers: names of headers that the service gets. notes: what else
    an operator should know."""

    status: int | None
    plugin: str
    rule: str
    why: str
    upstream: str
    arm: str
    set_headers: tuple[str, ...]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def locate(gateway: Gateway, cluster: str, asked: Asked) -> Found | None:
    """The route that Kong takes, None when it knows none (404). Raises UsageError for a URL that is none."""
    try:
        parts = urlsplit(asked.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise UsageError(f"--url {asked.url!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--url {asked.url!r}: write it whole, like https://order.example.com/orders/1")
    raw_path = (parts.path or "/").encode("utf-8").decode("latin-1")
    try:
        path = normalise(raw_path)
    except BadPath as error:
        raise UsageError(f"--url {asked.url!r}: nginx refuses this path with 400") from error
    headers: dict[str, list[str]] = {}
    for name, value in asked.headers:
        headers.setdefault(name.lower(), []).append(value)
    host = headers.get("host", [parts.netloc.rpartition("@")[2]])[0]
    headers["host"] = [host]
    document = render(gateway, cluster).document
    routes = [route for service in document.get("services", ()) for route in service.get("routes", ())]
    match = Router(routes + document.get("routes", [])).match(
        Request(asked.method, host, port, path, headers)
    )
    if match is None:
        return None
    mine = select(gateway, cluster)
    for service, route in mine.all_routes():
        if route.name == match.route["name"]:
            plugins = effective(mine, service, route)
            facts = Facts(
                "explain",
                str(parse_address(asked.ip)),
                parts.scheme,
                asked.method,
                re.sub(r":[0-9]+$", "", host),
                path,
                raw_path,
                route.name,
                service.name if service else "",
                (service.tenant or "") if service else "",
                "",
                frozenset(name for name, values in headers.items() if len(values[0]) > MAX_HEADER_BYTES),
                {name: values[0][:MAX_HEADER_BYTES] for name, values in headers.items()},
            )
            gate = {name: plugins[name] for name in PLUGINS if name in plugins}
            return Found(facts, service, route, gate)
    raise FailedError(f"route {match.route['name']} is rendered, but not in the model")


def trust_of(
    gateway: Gateway, cluster: str, base_dir: Path, jwks: Mapping[str, str], fetch: bool
) -> tuple[Trust, list[str]]:
    """The trust of a plugin server by the files, with a passport key made up here; and what is missing of it.

    jwks: file by issuer name, "" for all, in place of fetching. fetch: whether a jwks_url may be asked.
    Raises UsageError.
    """
    try:
        issuers = parse_issuers(server_config(gateway, cluster).get("issuers") or [], base_dir)
    except ValueError as error:
        raise UsageError(f"the files' issuers: {error}") from error
    sets: dict[str, KeySet] = {}
    missing: list[str] = []
    for name, issuer in issuers.items():
        file = jwks.get(name, jwks.get(""))
        try:
            if file is not None:
                sets[name] = parse_jwks(json.loads(Path(file).read_bytes()), issuer.algorithms)
            elif issuer.keys is not None:
                sets[name] = issuer.keys
            elif fetch:
                sets[name] = parse_jwks(json.loads(get(issuer.jwks_url, FETCH_SECONDS)), issuer.algorithms)
        except (OSError, ValueError) as error:
            if file is not None:
                raise UsageError(f"--jwks {file}: {error}") from error
            missing.append(f"keys of issuer {name}: {error}")
        except FetchError as error:
            missing.append(f"keys of issuer {name} could not be fetched ({error}): give them by --jwks FILE")
    unknown = sorted(set(jwks) - set(issuers) - {""})
    if unknown:
        raise UsageError(
            f"--jwks: there is no issuer {unknown[0]!r}; the files have {', '.join(issuers) or 'none'}"
        )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    passport = server_config(gateway, cluster).get("passport") or {}
    ring = Keyring(Ed25519PrivateKey.generate())
    name = str(passport.get("issuer", PASSPORT_ISSUER)) if isinstance(passport, Mapping) else PASSPORT_ISSUER
    return Trust(issuers, StaticKeys(sets), ring, name), missing


def explain(
    found: Found, snapshot: Snapshot, trust: Trust, now: float, limited: Sequence[Limited] = ()
) -> Explained:
    """Run the chain, and listen to what each filter says. now is Unix time; limited: what the nodes' limits refuse.
    Raises FailedError."""
    try:
        configs = {
            name: parse_config(name, to_kong(name, plugin.config)) for name, plugin in found.plugins.items()
        }
    except ValueError as error:
        raise FailedError(str(error)) from error
    heard: list[_Heard] = []
    told = ToldLimits(limited)
    chain = tuple(
        (_listening(decide, plugin, heard, told), config, plugin)
        for decide, config, plugin in engine_chain.build(configs)
    )
    state = State(snapshot, trust)
    decided = engine_chain.run(found.facts, chain, state, now)
    if isinstance(decided, engine_chain.Pending) and all(ask.kind == ASK_KIND for ask in decided.asks):
        # strict limits: what nodes refused they have told, so no answer is needed
        state = state._replace(answers={ask.key: None for ask in decided.asks})
        last_heard, heard[:] = heard[-1], []
        held = decided.exit
        decided = engine_chain.run(found.facts, chain, state, now, decided)
        if held is not None and isinstance(decided, Verdict) and decided.reason == held.reason:
            heard.append(last_heard)
    steps = [_step(one, snapshot, now) for one in heard]
    facts = heard[-1].facts if heard else found.facts
    notes = (*_notes(found, facts, snapshot, now), *limit_notes(configs.get("abuse-guard"), facts))
    if not isinstance(decided, Verdict):
        kinds = ", ".join(sorted({ask.kind for ask in decided.asks}))
        why = f"needs an answer from outside ({kinds}) for each request, which is not asked for here"
        return Explained(None, "", "asks", why, "", "", (), tuple(steps), notes)
    headers = tuple(name for name, value in decided.service_headers if value)
    last = steps[-1] if steps else Step("", "pass", "", "")
    why = last.why if decided.is_exit else _passes(decided, found)
    return Explained(
        decided.status, decided.plugin, decided.reason, why, decided.upstream, decided.arm, headers,
        tuple(steps), notes,
    )  # fmt: skip


class _Heard(NamedTuple):
    """What a filter was asked and said."""

    plugin: str
    facts: Facts
    config: Any
    said: Verdict | Ask | None


def _listening(
    decide: engine_chain.Filter, plugin: str, heard: list[_Heard], told: ToldLimits
) -> engine_chain.Filter:
    def listening(facts: Facts, config: Any, state: State, now: float) -> Verdict | Ask | None:
        if plugin == "abuse-guard":
            state = state._replace(cells=cast(Cells, told))
        said = decide(facts, config, state, now)
        heard.append(_Heard(plugin, facts, config, said))
        return said

    return listening


def _step(one: _Heard, snapshot: Snapshot, now: float) -> Step:
    plugin, facts, config, said = one
    if said is None:
        return Step(plugin, "pass", "", "nothing to say")
    if isinstance(said, Ask):
        return Step(plugin, "ask", said.kind, f"asks {said.kind} for {report.printable(said.key)}")
    if said.is_exit:
        if plugin == "abuse-guard":
            why = abuse_rules.exit_rule(said.reason, facts, config, snapshot, now)
        else:
            why = state_rule(said.reason, facts, snapshot, now)
        return Step(plugin, "exit", said.reason, f"{said.status}: " + (why or detail_of(said) or said.reason))
    words = abuse_rules.effects(said, facts, snapshot, now) if plugin == "abuse-guard" else []
    if said.identity is not None:
        words.append(f"user {said.identity.key} is verified")
    if any(name == PASSPORT_HEADER for name, _ in said.service_headers):
        words.append("a passport is issued")
    if said.arm:
        words.append(f"{said.arm}: {canary_rule(said.reason, facts, config, snapshot, now)[0]}")
    if said.prepared:
        words.append("has prepared answers for failures")
    return Step(plugin, "effects", said.reason, ", ".join(words))


def _passes(decided: Verdict, found: Found) -> str:
    service = found.service.name if found.service else "no service"
    where = (
        f"upstream {decided.upstream} in place of service {service}"
        if decided.upstream
        else f"service {service}"
    )
    return f"goes on to {where}"


def _notes(found: Found, facts: Facts, snapshot: Snapshot, now: float) -> tuple[str, ...]:
    notes: list[str] = []
    if not found.plugins:
        notes.append("no gate plugin runs on this route: kgate decides nothing here")
    allow = snapshot.allows.match(facts.ip, now)
    if allow is not None:
        notes.append(f"address {facts.ip} is allowed by {allow.value} (kgate allow)")
    held = held_breaker(facts, snapshot, now)
    if held:
        notes.append(held)
    forced = snapshot.fallbacks.forced(facts.tenant, facts.service, facts.route, now)
    if forced is not None and "static-fallback" not in found.plugins:
        notes.append(
            f"a fallback is forced for {forced.scope}:{forced.value}, but the route has no static-fallback"
        )
    protocols: Sequence[str] = found.route.fields.get("protocols") or ("http", "https")
    if facts.scheme not in protocols:
        notes.append(f"the route takes {', '.join(protocols)} only: Kong answers before the plugins run")
    return tuple(notes)
