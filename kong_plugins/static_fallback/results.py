"""What an outcome says of its service: failed and how, answered, or nothing."""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.engine.outcome import Outcome
from kong_plugins.static_fallback.breaker_config import CLASSES

_OF_STATUS = {"502": "refused", "503": "no_target", "504": "timeout"}


class Result(NamedTuple):
    """kind: a failure class, a status "500" to "599", "answered", "4xx", or "" for nothing. tries: made in all."""

    kind: str
    tries: int
    seconds: float


NOTHING = Result("", 0, 0.0)


def result_of(outcome: Outcome) -> Result:
    """The result of one outcome.

    Nothing follows from a request that a plugin or the gateway answered, and from one whose client went away (499).
    Kong's own errors are told by their word, or, from an adapter that does not say it, by nginx's last status.
    """
    source = outcome.source
    if outcome.status == "499" or source not in ("service", "error", "exit"):
        return NOTHING
    last = outcome.upstream_status.rpartition(",")[2].strip()
    kind = ""
    if source == "service":
        kind = last if last[:1] == "5" else "4xx" if last[:1] == "4" else "answered"
    elif outcome.reason in CLASSES:
        kind = outcome.reason
    elif source == "error":
        kind = _OF_STATUS.get(last, "")
    if not kind:
        return NOTHING
    try:
        return Result(kind, max(1, int(outcome.tries or 1)), int(outcome.milliseconds or 0) / 1000)
    except ValueError:
        return NOTHING
