"""A stream or gRPC behind something that waits for the whole answer.

A route tagged `streaming` (server-sent events, long polling) needs `response_buffering: false`; and on it, on one
that has `response_buffering: false` without the tag, and on gRPC, no plugin that reads or stores whole bodies.

Why: a `response` handler turns on buffered proxying in Kong 3.9.3 and does not even run when the service
refuses or times out; kong/plugins/proxy-cache/handler.lua and response-transformer (with operations on JSON) hold
the body with get_raw_body as well.

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

FAIL:
    services:
    - name: a
      url: http://a
      plugins: [{name: proxy-cache, config: {strategy: memory}}]
      routes:
      - {name: one, paths: [/events], response_buffering: false}

PASS:
    services:
    - name: a
      url: grpc://a:50051
      plugins: [{name: response-transformer, config: {add: {headers: ["a:b"]}}}]
      routes:
      - {name: one, paths: [/x], protocols: [grpc]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.values import items
from decl.lint.view import View
from decl.model import Plugin

ID = "buffering-with-streaming"
LEVEL: Level = WARNING

_GRPC = {"grpc", "grpcs"}
_BUFFERS = ("proxy-cache", "response-transformer", "ai-response-transformer")


def check(view: View) -> Iterator[Hit]:
    """Streaming and gRPC routes with buffering, by Kong or by a plugin."""
    for found in view.routes:
        route = found.route
        tagged = "streaming" in route.tags
        buffered = route.fields.get("response_buffering", True)
        streaming = tagged or buffered is False
        grpc = bool(_GRPC & set(route.fields.get("protocols") or ()))
        if tagged and buffered:
            yield Hit(route.path, "tagged streaming, but the answer is buffered; response_buffering: false")
        for name in _BUFFERS if streaming or grpc else ():
            if name in found.plugins and _holds(found.plugins[name]):
                what = "a stream" if streaming else "gRPC"
                yield Hit(found.plugins[name].path, f"{name} waits for the whole answer of {what}; remove it")


def _holds(plugin: Plugin) -> bool:
    """response-transformer looks at bodies only where it has something to do there."""
    if plugin.name != "response-transformer":
        return True
    operations = [value for value in plugin.config.values() if isinstance(value, dict)]
    return any(items(operation.get("json")) for operation in operations)
