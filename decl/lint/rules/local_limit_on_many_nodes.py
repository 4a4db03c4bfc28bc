"""A small local-first limit on several nodes.

Nodes tell each other what they admitted within 0.1 s. Until then each admits for itself, so all of them together may
admit up to (nodes - 1) x (burst + rate x 0.1 s) more than the limit says. With a small burst that is a multiple of
it: take `policy: strict`, which asks Redis, or a burst of 20 and more.

Why: Kong 3.9's nodes know nothing of each other's requests; the bound of abuse-guard's local-first limits
(docs/abuse.md) is shown by its end-to-end test.

PASS:
    clusters:
      main: {nodes: ["http://a:8001", "http://b:8001"]}
    plugins:
    - name: abuse-guard
      config:
        limits:
        - {name: login, key: [ip], rate: 5, per: 60, policy: strict}
        - {name: all, key: [ip], rate: 20}

PASS:
    clusters:
      main: {nodes: ["http://a:8001"]}
    plugins:
    - name: abuse-guard
      config: {limits: [{name: login, key: [ip], rate: 5, per: 60}]}

FAIL:
    clusters:
      main: {nodes: ["http://a:8001", "http://b:8001"]}
    plugins:
    - name: abuse-guard
      config: {limits: [{name: login, key: [ip], rate: 5, per: 60}]}

FAIL:
    clusters:
      main: {nodes: ["dns+http://kong-admin:8001"]}
    plugins:
    - name: abuse-guard
      config: {limits: [{name: all, key: [ip], rate: 100, burst: 10}]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View, has_several_nodes

ID = "local-limit-on-many-nodes"
LEVEL: Level = ERROR

LEAST_BURST = 20
DELAY_SECONDS = 0.1


def check(view: View) -> Iterator[Hit]:
    """Limits of abuse-guard with a burst under 20 and policy local-first, in clusters of several nodes."""
    for placed in view.by_name.get("abuse-guard", ()):
        limits = placed.plugin.config.get("limits")
        many = [cluster for cluster in view.clusters_of(placed.service) if has_several_nodes(cluster)]
        if not many or not isinstance(limits, list):
            continue
        for number, limit in enumerate(limits):
            if not isinstance(limit, Mapping) or limit.get("policy") == "strict" or limit.get("dry_run"):
                continue
            rate, per = _number(limit.get("rate"), 0), _number(limit.get("per"), 1)
            burst = _number(limit.get("burst"), max(1, int(rate)))
            if burst >= LEAST_BURST or per <= 0:
                continue
            others = max(len(many[0].nodes) - 1, len(many[0].proxy) - 1, 1)
            over = others * (burst + rate / per * DELAY_SECONDS)
            message = (
                f"a local-first limit of {burst:g} in cluster {many[0].name!r} may admit {over:.0f} more: "
                "take policy: strict, or a burst of 20 and more"
            )
            yield Hit((*placed.plugin.path, "config", "limits", number), message)


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
