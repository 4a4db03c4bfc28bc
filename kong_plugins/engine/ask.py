"""Ask: a filter's question to the outside world.

A filter does no I/O. When it needs an answer from outside (a strict limit's Redis script) it returns an
Ask; the shell answers all asks of a request at once within a budget and decides again, with the answers
in the state. No answer within the budget is an answer too: `None`.
"""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.engine.facts import Identity

BUDGET_SECONDS = 0.020


class Ask(NamedTuple):
    """`kind` names the capability that answers (a key of the shell's registry), `key` identifies the
    question within the request, `args` are its arguments.

    identity: who the request is from, where that is known before the answer: the filters after it go on with it.
    """

    kind: str
    key: str
    args: tuple[str | int | float, ...] = ()
    identity: Identity | None = None
