"""As much of PromQL as our rules and dashboards use, over series that a test recorded.

The grammar is Prometheus's own (promql-parser); the values follow
https://prometheus.io/docs/prometheus/latest/querying/. What is not here raises NotImplementedError, so that no
rule passes by not being understood.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import promql_parser as pp
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
LOOKBACK = 300.0

COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul,
    "/": lambda a, b: a / b if b else (float("nan") if a == 0 else float("inf")),
}  # fmt: skip
GATHER: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


class Recording:
    """Series by name and labels: (seconds, value) in their order."""

    def __init__(self) -> None:
        self.series: dict[str, dict[Labels, list[tuple[float, float]]]] = {}

    def scrape(self, at: float, text: str, only: set[str] | None = None, **target: str) -> None:
        """What a target exposed at a time, with the labels that Prometheus adds; of those names alone."""
        self.put("up", at, 1.0, **target)
        if only is not None:
            lines = (line for line in text.splitlines() if re.split("[{ ]", line, maxsplit=1)[0] in only)
            text = "\n".join(lines) + "\n"
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.put(sample.name, at, sample.value, **{**sample.labels, **target})

    def put(self, name: str, at: float, value: float, **labels: str) -> None:
        self.series.setdefault(name, {}).setdefault(frozenset(labels.items()), []).append((at, value))

    def names(self) -> set[str]:
        return set(self.series)


def evaluate(query: str, recording: Recording, now: float) -> Vector | float:
    """The instant value of a query."""
    return _value(pp.parse(query), recording, now)


def selectors(query: str) -> list[Any]:
    """All vector selectors of a query."""
    found = []

    def look(node: Any) -> None:
        if isinstance(node, pp.VectorSelector):
            found.append(node)
        elif isinstance(node, pp.MatrixSelector):
            look(node.vector_selector)
        elif isinstance(node, pp.BinaryExpr):
            look(node.lhs)
            look(node.rhs)
        elif isinstance(node, pp.Call):
            for each in node.args:
                look(each)
        elif isinstance(node, pp.AggregateExpr | pp.ParenExpr | pp.UnaryExpr):
            look(node.expr)

    look(pp.parse(query))
    return found


def _value(node: Any, recording: Recording, now: float) -> Vector | float:
    if isinstance(node, pp.NumberLiteral):
        return float(node.val)
    if isinstance(node, pp.ParenExpr):
        return _value(node.expr, recording, now)
    if isinstance(node, pp.VectorSelector):
        found = {}
        for labels, samples in _matching(node, recording):
            last = [value for at, value in samples if now - LOOKBACK < at <= now]
            if last:
                found[labels] = last[-1]
        return found
    if isinstance(node, pp.AggregateExpr):
        return _aggregate(node, recording, now)
    if isinstance(node, pp.Call):
        return _call(node, recording, now)
    if isinstance(node, pp.BinaryExpr):
        return _binary(node, recording, now)
    raise NotImplementedError(type(node).__name__)


def _matching(node: Any, recording: Recording) -> list[tuple[Labels, list[tuple[float, float]]]]:
    tests = []
    for matcher in node.matchers.matchers:
        kind = str(matcher.op).rpartition(".")[2]
        tests.append((matcher.name, kind, matcher.value))
    return [
        (labels, samples)
        for labels, samples in recording.series.get(node.name, {}).items()
        if all(_holds(kind, dict(labels).get(name, ""), value) for name, kind, value in tests)
    ]


def _holds(kind: str, value: str, wanted: str) -> bool:
    if kind in ("Equal", "NotEqual"):
        return (value == wanted) == (kind == "Equal")
    return (re.fullmatch(wanted, value) is not None) == (kind == "Re")


def _call(node: Any, recording: Recording, now: float) -> Vector:
    name = node.func.name
    if name == "histogram_quantile":
        quantile, buckets = (_value(each, recording, now) for each in node.args)
        assert isinstance(quantile, float)
        assert isinstance(buckets, dict)
        return _quantile(quantile, buckets)
    if name not in ("rate", "increase"):
        raise NotImplementedError(name)
    (matrix,) = node.args
    seconds = matrix.range.total_seconds()
    found: Vector = {}
    for labels, samples in _matching(matrix.vector_selector, recording):
        inside = [sample for sample in samples if now - seconds < sample[0] <= now]
        if len(inside) > 1:
            # a counter that fell began anew; no extrapolation to the window's edges
            grown = sum(b if b < a else b - a for (_, a), (_, b) in pairwise(inside))
            span = inside[-1][0] - inside[0][0]
            found[labels] = grown / span * (1.0 if name == "rate" else seconds)
    return found


def _quantile(quantile: float, buckets: Vector) -> Vector:
    groups: dict[Labels, list[tuple[float, float]]] = {}
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"])
        groups.setdefault(frozenset(x for x in labels if x[0] != "le"), []).append((bound, count))
    found: Vector = {}
    for labels, rows in groups.items():
        rows.sort()
        rank = quantile * rows[-1][1]
        if not rows[-1][1]:
            continue
        below_bound = below = 0.0
        for bound, count in rows:
            if count >= rank:
                whole = bound == float("inf") or count == below
                share = (rank - below) / (count - below) if count > below else 0.0
                found[labels] = below_bound if whole else below_bound + (bound - below_bound) * share
                break
            below_bound, below = bound, count
    return found


def _aggregate(node: Any, recording: Recording, now: float) -> Vector:
    inner = _value(node.expr, recording, now)
    assert isinstance(inner, dict)
    kept: set[str] = set()
    if node.modifier is not None:
        if str(node.modifier.type).rpartition(".")[2] != "By":
            raise NotImplementedError("without")
        kept = set(node.modifier.labels)
    groups: dict[Labels, list[float]] = {}
    for labels, value in inner.items():
        groups.setdefault(frozenset(x for x in labels if x[0] in kept), []).append(value)
    gather = GATHER[str(node.op)]
    return {labels: gather(values) for labels, values in groups.items()}


def _binary(node: Any, recording: Recording, now: float) -> Vector | float:
    left, right = _value(node.lhs, recording, now), _value(node.rhs, recording, now)
    sign = str(node.op)
    if isinstance(left, float) and isinstance(right, float):
        return ARITHMETIC[sign](left, right)
    if isinstance(right, float):
        assert isinstance(left, dict)
        if sign in COMPARE:
            return {labels: value for labels, value in left.items() if COMPARE[sign](value, right)}
        return {labels: ARITHMETIC[sign](value, right) for labels, value in left.items()}
    assert isinstance(left, dict)
    on: Mapping[str, Any] | None = None
    if node.modifier is not None and node.modifier.matching is not None:
        on = set(node.modifier.matching.labels)  # type: ignore[assignment]
    by: dict[Labels, float] = {_part(labels, on): value for labels, value in right.items()}
    return {
        labels: ARITHMETIC[sign](value, by[_part(labels, on)])
        for labels, value in left.items()
        if _part(labels, on) in by
    }


def _part(labels: Labels, on: Any) -> Labels:
    return labels if on is None else frozenset(x for x in labels if x[0] in on)
