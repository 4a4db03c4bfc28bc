"""The adapter answers the probe in rewrite, and only the probe."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from decl.probe import adapter_hash

CONF = {"socket": "/run/kgate/express.sock", "strip": ["X-Passport", "X-Canary"]}


def rewrite(world: Any, uri: str, conf: dict[str, Any], target: str | None = "") -> Any:
    """The status, body and headers of an exit in rewrite; None when the request goes on."""
    return world.py(
        world.run(
            """
            local uri, conf, target = ...
            ngx.var = { uri = uri, request_uri = target }
            local exit = kong.response.exit
            kong.response.exit = function(status, body, headers) return { status, body, headers } end
            require("kong.plugins.kgate.strip").run = function() end
            local out = require("kong.plugins.kgate.handler"):rewrite(conf)
            kong.response.exit = exit
            return out
            """,
            uri.encode(),
            world.table(conf),
            None if target is None else (target or uri).encode(),
        )
    )


def test_the_probe_tells_the_hash_that_kgate_expects(world: Any) -> None:
    status, body, headers = rewrite(world, "/.kgate/probe", CONF)
    expected = hashlib.md5(b"/run/kgate/express.sock\nX-Passport,X-Canary").hexdigest()
    assert (status, body) == (200, f'{{"config":"{expected}"}}')
    assert headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    assert adapter_hash(CONF) == expected


@pytest.mark.parametrize("uri", ["/", "/.kgate/prob", "/.kgate/probe/", "/.kgate/probe2", "/a/.kgate/probe"])
def test_other_requests_go_on(world: Any, uri: str) -> None:
    assert rewrite(world, uri, CONF) is None


def test_a_query_is_no_hindrance(world: Any) -> None:
    assert rewrite(world, "/.kgate/probe", CONF, "/.kgate/probe?x=1")[0] == 200


@pytest.mark.parametrize("target", [None, "/", "*", "."])
def test_odd_targets_are_not_the_probe(world: Any, target: str | None) -> None:
    assert rewrite(world, "/", CONF, target) is None


@pytest.mark.parametrize("change", [{"socket": "/s"}, {"strip": ["X-Passport"]}, {"strip": []}])
def test_another_config_has_another_hash(world: Any, change: dict[str, Any]) -> None:
    answers = {rewrite(world, "/.kgate/probe", conf)[1] for conf in (CONF, {**CONF, **change})}
    assert len(answers) == 2
