"""static-fallback: name the prepared answers of the route. The adapter gives one at a failure."""

from __future__ import annotations

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import State
from kong_plugins.static_fallback.config import Config


def decide(facts: Facts, config: Config, state: State, now: float) -> Verdict:
    """The verdict is the same for every request of the config, so it is made once, when parsing."""
    return config.verdict
