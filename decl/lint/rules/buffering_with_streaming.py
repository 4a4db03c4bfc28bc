"""A stream or gRPC behind something that waits for the whole answer.

A route tagged `streaming` (server-sent events, long polling) needs `response_buffering: false`; and on it,
and on gRPC, no plugin that reads or stores whole bodies.

Why: a `response` handler turns on buffered proxying in Kong 3.9.3 and does not even run when the service
refuses or times out; proxy-cache and response-transformer hold the body as well.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: [/events], tags: [streaming], response_buffering: false}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: [/events], tags: [streaming]}

FAIL:
    services:
    - name: a
      url: grpc://a:50051
      routes:
      - name: one
        paths: [/x]
        protocols: [grpc]
        plugins: [{name: response-transformer, config: {remove: {json: [a]}}}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "buffering-with-streaming"
LEVEL: Level = WARNING

_GRPC = {"grpc", "grpcs"}
_BUFFERS = ("proxy-cache", "response-transformer", "response-ratelimiting")


def check(view: View) -> Iterator[Hit]:
    """Streaming and gRPC routes with buffering, by Kong or by a plugin."""
    for found in view.routes:
        route = found.route
        streaming = "streaming" in route.tags
        grpc = bool(_GRPC & set(route.fields.get("protocols") or ()))
        if streaming and route.fields.get("response_buffering", True):
            yield Hit(route.path, "tagged streaming, but the answer is buffered; response_buffering: false")
        for name in _BUFFERS if streaming or grpc else ():
            if name in found.plugins:
                what = "a stream" if streaming else "gRPC"
                yield Hit(found.plugins[name].path, f"{name} waits for the whole answer of {what}; remove it")
