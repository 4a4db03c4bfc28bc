"""A route of a stream (tcp, tls, udp, tls_passthrough) that plugins are meant to protect.

The gate plugins and Kong's authentication plugins work on HTTP requests. On a stream none of them runs, nor does
the adapter, whatever the tag and the plugins of the service say: whoever connects reaches the service. Take the
plugins and the tag away, and let the service ask who it is; or tag the route `public`, if plugins of a wider
scope are not meant for it.

Why: measured on Kong 3.9.3: a tcp route tagged `kgate-protected` with a passport on its service passes every
connection on; Kong loads such plugins for HTTP alone.

PASS:
    services:
    - name: pay
      url: http://pay
      plugins: [{name: passport, config: {issuers: [main]}}]
      routes:
      - {name: pay, paths: [/pay]}

PASS:
    plugins: [{name: passport, config: {issuers: [main]}}]
    services:
    - name: mail
      url: tcp://mail:25
      routes:
      - {name: mail, protocols: [tcp], destinations: [{port: 25}], tags: [public]}

FAIL:
    services:
    - name: store
      url: tcp://store:6379
      plugins: [{name: passport, config: {issuers: [main]}}]
      routes:
      - {name: store, protocols: [tls], snis: [store.example]}

FAIL:
    services:
    - name: store
      url: tcp://store:6379
      routes:
      - {name: store, protocols: [tcp], destinations: [{port: 6379}], tags: [kgate-protected]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import AUTHENTICATION, PROTECTED_TAG, View
from schemas import GATE_PLUGINS

ID = "stream-route"
LEVEL: Level = ERROR

_PROTECTORS = AUTHENTICATION | frozenset(GATE_PLUGINS)


def check(view: View) -> Iterator[Hit]:
    """Routes of streams with a gate or authentication plugin, or tagged protected."""
    for found in view.routes:
        if found.stream is None or "public" in found.route.tags:
            continue
        idle = sorted(_PROTECTORS.intersection(found.plugins))
        if PROTECTED_TAG in found.route.tags:
            idle.append(f"the tag {PROTECTED_TAG}")
        if idle:
            yield Hit(
                found.route.path,
                f"{found.stream} route, where {', '.join(idle)} cannot work: whoever connects reaches the service; "
                "let that ask who it is, or tag the route public",
            )
