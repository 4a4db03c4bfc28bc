"""cjson's two functions. Bytes that are not UTF-8 pass both ways, as they do in cjson."""

from __future__ import annotations

import json
from typing import Any

from sandbox.lua_values import Converter, from_text


def encode(value: Any, values: Converter) -> str:
    """A Lua value as JSON text (bytes as latin-1). An empty table is `{}` unless marked as an array."""
    text = json.dumps(values.to_python(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # cjson escapes the slash, so text can stand inside <script>
    return (
        text.encode("utf-8", "surrogateescape")
        .decode("latin-1")
        .replace("/", "\\/")
        .replace("\x7f", "\\u007f")
    )


def decode(text: str, values: Converter) -> Any:
    """JSON text as a Lua value; null is ngx.null. Raises ValueError."""
    return values.to_lua(_whole(json.loads(from_text(text), parse_constant=_no_constant)), nulls=True)


def _no_constant(name: str) -> Any:
    raise ValueError(f"not JSON: {name}")


def _whole(value: Any) -> Any:
    # a lone escaped surrogate has no UTF-8; cjson refuses it too
    if isinstance(value, str):
        value.encode("utf-8", "surrogateescape")
    return value
