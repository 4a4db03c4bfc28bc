"""The decider: configs by id, chains by hash, and one guarded decision a request. Both lanes use it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from kong_plugins.engine import chain as engine_chain
from kong_plugins.engine.facts import Facts, FactsError, parse_facts
from kong_plugins.engine.lease import NONE, Condition, Lease
from kong_plugins.engine.registry import PLUGINS, field_names, parse_config
from kong_plugins.engine.verdict import Verdict
from kong_plugins.server.asks import Asker
from kong_plugins.server.bounded import Bounded
from kong_plugins.server.deadline import Deadline, DeadlinePassed
from kong_plugins.server.decided import Decided, Found, Later, wire_of
from kong_plugins.server.refused import Refused, build_chain
from kong_plugins.server.tally import Tally
from kong_plugins.server.tracing import Tracer
from kong_plugins.server.waits import Waits, starter
from kong_plugins.state.base import State
from kong_plugins.static_fallback.prepared import to_wire as plan_to_wire

log = logging.getLogger("kgate.server")

MAX_CONFIGS = 20_000
"""Configs and chains that are kept; the longest unused go first."""


class ConfigError(ValueError):
    """A config that cannot be used: the message names plugin and field."""


class UnknownConfig(LookupError):
    """An id or a chain that this process does not know (any more)."""


class Registered(NamedTuple):
    """A parsed config under its id; `text` is what the id is the hash of."""

    id: int
    plugin: str
    text: str
    config: Any


def config_text(plugin: str, raw: Mapping[str, Any]) -> str:
    """The content of a config, the same in every process: without Kong's own extra keys, keys sorted."""
    known = {key: value for key, value in raw.items() if key in field_names(plugin)}
    return json.dumps(known, sort_keys=True, separators=(",", ":"))


def config_id(plugin: str, text: str) -> int:
    """A 52-bit content hash of a config's text: exact in a Lua number."""
    digest = hashlib.blake2b(f"{plugin}\0{text}".encode("utf-8", "surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 12


class Decider:
    """Holds what decisions need and makes them.

    clock: Unix time in seconds. The state is None until the first control state was loaded; until then
    no request is let through. learned: called with plugin and text of each config that is new here.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        deadline: Deadline | None = None,
        limit: int = MAX_CONFIGS,
        learned: Callable[[str, str], None] = lambda _plugin, _text: None,
    ) -> None:
        self._clock = clock
        self._learned = learned
        self._deadline: AbstractContextManager[None] = deadline or nullcontext()
        self.state: State | None = None
        self._configs = Bounded(limit)
        self._chains = Bounded(limit)
        self._by_ids = Bounded(limit)
        self._plans = Bounded(limit)
        self.tally = Tally()
        self.tracer: Tracer | None = None
        self.asker: Asker | None = None
        """Answers the filters' asks; without it none is answered, and they decide by what the node knows."""
        self.waits: Waits | None = None
        """Holds requests for what is asked of their users; without it they go on with what their tokens say."""

    def register(self, plugin: str, config_json: str | bytes) -> Registered:
        """Parse and keep one config (Kong's JSON text). Raises ConfigError."""
        try:
            raw = json.loads(config_json)
        except ValueError as error:
            raise ConfigError(f"{plugin}: the config is not JSON: {error}") from error
        if not isinstance(raw, Mapping):
            raise ConfigError(f"{plugin}: the config is not an object")
        try:
            config = parse_config(plugin, raw)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        text = config_text(plugin, raw)
        known = Registered(config_id(plugin, text), plugin, text, config)
        present = self._configs.get(known.id)
        if present is not None and (present.plugin, present.text) != (plugin, text):
            raise ConfigError(f"{plugin}: config id {known.id} is taken by another config")
        self._configs.put(known.id, known)
        if present is None:
            self._learned(plugin, text)
        plan = getattr(config, "plan", None)
        if plan is not None:
            self._plans.put(plan.hash, plan)
        return known

    def register_any(self, plugin: str, config_json: str | bytes) -> Registered:
        """As `register`, but a gate plugin's config with a bad value is kept as what it is: it answers 503.

        Refusing its StartInstance would look to Kong's worker like a server that is away, and close other
        routes with this one. Raises ConfigError for what is no gate plugin's config at all.
        """
        try:
            return self.register(plugin, config_json)
        except ConfigError as error:
            if plugin not in PLUGINS:
                raise
            log.error("%s: its routes answer 503", error)
            text = f"refused {plugin} {config_json!r}"
            known = Registered(config_id(plugin, text), plugin, text, Refused(str(error)))
            self._configs.put(known.id, known)
            return known

    def config(self, instance_id: int) -> Registered:
        """The config of an id. Raises UnknownConfig."""
        found: Registered | None = self._configs.get(instance_id)
        if found is None:
            raise UnknownConfig(f"no plugin instance {instance_id}")
        return found

    def register_chain(self, chain_hash: str, names_and_configs: Sequence[str]) -> None:
        """Keep the chain of a route: [name1, json1, name2, json2, ...] under its md5 (docs/protocol.md).

        A config with a bad value is kept as in `register_any`: without a verdict a route with `fail: open` would be
        open. Raises ConfigError, also when the hash is not that of the configs.
        """
        if len(names_and_configs) % 2:
            raise ConfigError("a chain is pairs of plugin name and config")
        text = "".join(f"{part}\0" for part in names_and_configs)
        found = hashlib.md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
        if found != chain_hash:
            raise ConfigError(f"chain {chain_hash[:40]!r} has other configs: their hash is {found}")
        pairs = zip(names_and_configs[::2], names_and_configs[1::2], strict=True)
        configs = {name: self.register_any(name, text).config for name, text in pairs}
        self._chains.put(chain_hash, build_chain(configs))

    def decide_chain(self, chain_hash: str, record: Sequence[Any]) -> dict[str, Any]:
        """Express lane: the verdict of a chain on the facts, as the wire map. Raises Later."""
        found = self.find_by_chain(chain_hash, record)
        return {"e": "config"} if found is None else wire_of(found, record, chain_hash)

    def decide_ids(self, ids: Sequence[int], record: Sequence[Any]) -> Decided:
        """Pdk lane: the verdict of the configs with these ids, and its wire map. Raises UnknownConfig and Later."""
        found = self.find_by_ids(ids, record)
        return found[0], wire_of(found, record)

    def find_by_chain(self, chain_hash: str, record: Sequence[Any]) -> Found | None:
        """The verdict of a chain on the facts; None for a chain that is not known. Raises Later."""
        chain = self._chains.get(chain_hash)
        return None if chain is None else self._decide(record, chain)

    def find_by_ids(self, ids: Sequence[int], record: Sequence[Any]) -> Found:
        """The verdict of the configs with these ids on the facts. Raises UnknownConfig and Later."""
        key = tuple(ids)
        chain = self._by_ids.get(key)
        if chain is None:
            configs = {found.plugin: found.config for found in map(self.config, key)}
            chain = build_chain(configs)
            self._by_ids.put(key, chain)
        return self._decide(record, chain)

    def lease(self, chain_hash: str, facts: Facts, verdict: Verdict) -> Lease:
        """For how long the verdict that was just found stands for requests that are alike. None where each request is
        traced."""
        chain = self._chains.get(chain_hash)
        if chain is None or self.state is None or self.tracer is not None:
            return NONE
        try:
            return engine_chain.lease(facts, chain, verdict, self.state, self._clock())
        except Exception:  # as in `_decide`: then every request is asked for
            log.exception("request %s: no lease", facts.request_id)
            return NONE

    def still(self, condition: Condition) -> bool:
        """Whether a condition of a lease holds."""
        return self.state is not None and condition.holds(self.state, self._clock())

    def list_names(self) -> set[str]:
        """Lists of the control state that the kept configs name."""
        return {name for known in self._configs.values() for name in getattr(known.config, "list_names", ())}

    def prepared(self, plan_hash: str) -> dict[str, Any]:
        """The prepared answers with this content hash, as the wire map."""
        plan = self._plans.get(plan_hash)
        return {"e": "unknown"} if plan is None else plan_to_wire(plan)

    def _decide(self, record: Sequence[Any], chain: engine_chain.Chain) -> Found:
        facts: Facts | None = None
        started = time.perf_counter()
        try:
            facts = parse_facts(record)
            if self.state is None:
                return self._no_verdict(facts, "no_state")
            with self._deadline:
                found = engine_chain.run(facts, chain, self.state, self._clock())
            if isinstance(found, Verdict):
                self._done(facts, found, time.perf_counter() - started)
                return found, facts, ""
        except (Exception, DeadlinePassed) as error:  # noqa: BLE001 - the one guard: a filter's error is the route's fail answer
            return self._failed(facts, error)
        return self._asked(facts, chain, found, started, record)

    def _asked(
        self,
        facts: Facts,
        chain: engine_chain.Chain,
        pending: engine_chain.Pending,
        started: float,
        record: Sequence[Any],
    ) -> Found:
        """Ask and decide again; at once where nobody would answer."""
        begin = starter(pending.asks, self.asker, self.waits)
        if begin is None:
            return self._again(facts, chain, pending, {ask.key: None for ask in pending.asks}, started)

        def start(done: Callable[[Decided], None]) -> None:
            def answered(answers: Mapping[str, Any]) -> None:
                found = self._again(facts, chain, pending, answers, started)
                done((found[0], wire_of(found, record)))

            begin(answered)

        raise Later(start)

    def _again(
        self,
        facts: Facts,
        chain: engine_chain.Chain,
        pending: engine_chain.Pending,
        answers: Mapping[str, Any],
        started: float,
    ) -> Found:
        try:
            if self.state is None:
                return self._no_verdict(facts, "no_state")
            state = self.state._replace(answers=answers)
            with self._deadline:
                found = engine_chain.run(facts, chain, state, self._clock(), pending)
            if isinstance(found, Verdict):
                self._done(facts, found, time.perf_counter() - started)
                return found, facts, ""
        except (Exception, DeadlinePassed) as error:  # noqa: BLE001 - as in `_decide`: here the first run ended
            return self._failed(facts, error)
        return self._no_verdict(facts, "unanswered", f"asked again after the answers: {found}")

    def _done(self, facts: Facts, verdict: Verdict, seconds: float) -> None:
        self.tally.add(facts, verdict, seconds)
        if self.tracer is not None and facts.traceparent:
            self.tracer.decided(facts, verdict, self._clock(), seconds)

    def _failed(self, facts: Facts | None, error: BaseException) -> Found:
        if isinstance(error, FactsError):
            return self._no_verdict(facts, "bad_facts", str(error))
        if isinstance(error, DeadlinePassed):
            return self._no_verdict(facts, "deadline", "the decision passed its deadline")
        return self._no_verdict(facts, "filter_error", "a filter failed", error)

    def _no_verdict(
        self, facts: Facts | None, reason: str, why: str = "", trace: BaseException | None = None
    ) -> Found:
        request_id = facts.request_id if facts else ""
        self.tally.fail(reason)
        if why:
            extra = {"request_id": request_id, "reason": reason}
            log.error("request %s: %s", request_id or "?", why, exc_info=trace, extra=extra)
        return None, facts, reason
