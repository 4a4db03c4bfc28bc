"""Verdicts that many requests get as the same object, and what is made of them, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from kong_plugins.engine.verdict import Verdict, merge

MAX_JOINED = 4096
"""Merged verdicts that are kept; then it begins anew."""


class Lasting(Verdict):
    """A verdict that is ready in a config, or that belongs to a passport while that is reused: nothing in it depends
    on the request. Its fields are compared as any verdict's, but `is` will do where one is looked up."""

    __slots__ = ()

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Verdict:  # type: ignore[override]
        """For `_replace`: with another field it is a verdict of one request."""
        return Verdict._make(iterable)


def lasting(verdict: Verdict) -> Lasting:
    """This verdict as one that is given again."""
    return tuple.__new__(Lasting, verdict)


class Varied(Verdict):
    """A merged verdict with something of the request in it. base: what is lasting of it, merged alone."""

    base: Lasting

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Verdict:  # type: ignore[override]
        """As Lasting's."""
        return Verdict._make(iterable)


_joined: dict[tuple[int, ...], tuple[tuple[Verdict, ...], Lasting]] = {}
"""By the parts' identity. The parts are kept too: while they are, no other object has their `id`."""


def join(effects: Sequence[Verdict]) -> Verdict:
    """`merge`; of lasting verdicts a lasting one, and the same each time; of some a varied one."""
    for one in effects:
        if type(one) is not Lasting:
            return _vary(effects)
    return _join(effects)


def _join(effects: Sequence[Verdict]) -> Verdict:
    if len(effects) < 2:
        return merge(effects)
    key = tuple(map(id, effects))
    found = _joined.get(key)
    if found is None:
        if len(_joined) >= MAX_JOINED:
            _joined.clear()
        found = _joined[key] = (tuple(effects), lasting(merge(effects)))
    return found[1]


def _vary(effects: Sequence[Verdict]) -> Verdict:
    base = []
    for one in effects:
        if type(one) is Lasting:
            base.append(one)
        elif one.identity is not None:
            return merge(effects)  # a passport of this request alone: what is left is not worth a slot
    if not base:
        return merge(effects)
    kept = _join(base)
    if len(base) == len(effects) - 1 and type(effects[0]) is not Lasting:
        effects = effects[0], kept  # the usual case: a limit, and what comes after it
    found: Varied = tuple.__new__(Varied, merge(effects))
    found.base = cast("Lasting", kept)
    return found
