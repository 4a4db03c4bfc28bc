"""What stands in for a gate plugin's config that cannot be used: its routes answer 503 and say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kong_plugins.engine import chain as engine_chain
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import State


class Refused(NamedTuple):
    """Stands for a config that cannot be used, and why."""

    error: str


def _bad_config(facts: Facts, _config: Any, _state: State, _now: float) -> Verdict:
    """The filter of a route one of whose configs was refused."""
    detail = "A configuration of the gateway on this route cannot be used."
    return problem(503, "bad_config", detail, facts.request_id)


def build_chain(configs: Mapping[str, Any]) -> engine_chain.Chain:
    """The chain of a route's configs by plugin; of one that was refused, an answer that says so."""
    if any(isinstance(config, Refused) for config in configs.values()):
        return ((_bad_config, None, "kgate"),)
    return engine_chain.build(configs)
