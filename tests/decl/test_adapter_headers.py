"""What passport configs name reaches the adapter: it sends the headers they read, and strips those they set."""

from __future__ import annotations

from pathlib import Path

from decl.adapter import SEND, STRIP, adapter_plugins
from decl.model import Gateway, Plugin, Route


def plugins(*configs: dict[str, object]) -> list[dict[str, object]]:
    made = tuple(
        Route(f"r{number}", (), {}, (Plugin("passport", (), config, {}),))
        for number, config in enumerate(configs)
    )
    return [plugin["config"] for plugin in adapter_plugins(Gateway(routes=made), str(Path("/run/kgate")))]


def test_the_defaults() -> None:
    facts, guard = plugins({"issuers": ["main"]}, {"mode": "jwks"}, {"issuers": "broken"})
    assert (facts["headers"], guard["strip"]) == (list(SEND), list(STRIP))


def test_what_configs_name_comes_on_top() -> None:
    facts, guard = plugins(
        {"issuers": ["main"], "token_from": ["header:X-Token", "cookie:a"], "device": "header:X-Device"},
        {"issuers": ["main"], "header": "X-Who"},
        {"issuers": ["main"], "header": "X-Other", "token_from": ["header:x-token"]},
    )
    assert facts["headers"] == [*SEND, "x-device", "x-token"]
    assert guard["strip"] == [*STRIP, "X-Other", "X-Who"]
