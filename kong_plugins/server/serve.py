"""Starting and ending the whole plugin server: what `kgate serve` calls."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import uvloop

from kong_plugins.identity.trust import build_trust
from kong_plugins.server.config import load
from kong_plugins.server.run_dir import ServedLanes, close_sockets, open_sockets, write_plugin_info
from kong_plugins.server.supervisor import Options, Supervisor
from kong_plugins.state.open import open_store

log = logging.getLogger("kgate.server")


def serve(options: Options, lanes: ServedLanes, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called when all workers answer.

    Raises ServerConfigError, RunDirError, and ValueError for a config that cannot be used; nothing is left
    behind then.
    """

    def validate() -> None:
        config = load(options.config, os.environ)
        # makes the passport's key before several workers would
        build_trust(config.trust, config.base_dir, options.run_dir)
        open_store(config.redis.url, config.redis.namespace).close()

    load(options.config, os.environ)
    write_plugin_info(options.run_dir)
    sockets = open_sockets(options.run_dir, lanes)
    try:
        validate()
        uvloop.run(Supervisor(options, sockets, validate, ready).run())
    finally:
        close_sockets(sockets, options.run_dir)
