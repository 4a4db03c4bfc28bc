"""The checks, in the order in which they are told: from Kong to what stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cli.doctor.checks import (
    adapter,
    clocks,
    keys,
    kong_node,
    kong_settings,
    planes,
    plugin_servers,
    plugins,
    priorities,
    probe,
    redis,
    server,
    sockets,
    timeouts,
    trusted_ips,
)
from cli.doctor.model import Result, World

Check = Callable[[World], Iterator[Result]]

CHECKS: dict[str, Check] = {
    kong_node.NAME: kong_node.check,
    kong_settings.NAME: kong_settings.check,
    plugins.NAME: plugins.check,
    plugin_servers.NAME: plugin_servers.check,
    priorities.NAME: priorities.check,
    adapter.NAME: adapter.check,
    probe.NAME: probe.check,
    timeouts.NAME: timeouts.check,
    trusted_ips.NAME: trusted_ips.check,
    planes.NAME: planes.check,
    sockets.NAME: sockets.check,
    server.NAME: server.check,
    redis.NAME: redis.check,
    clocks.NAME: clocks.check,
    keys.NAME: keys.check,
}


def examine(world: World) -> list[Result]:
    """What all checks say."""
    return [result for check in CHECKS.values() for result in check(world)]
