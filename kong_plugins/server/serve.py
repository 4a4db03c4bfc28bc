"""Starting and ending the whole plugin server: what `kgate serve` calls."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Callable

import uvloop

from kong_plugins.identity.trust import build_trust
from kong_plugins.server.config import load
from kong_plugins.server.options import Options
from kong_plugins.server.run_dir import (
    ServedLanes,
    close_sockets,
    give_to_group,
    open_sockets,
    write_plugin_info,
)
from kong_plugins.server.supervisor import Supervisor
from kong_plugins.state.open import open_store

log = logging.getLogger("kgate.server")


WANTED_FILES = 65_536
"""Open files that a process should be able to have: a connection is one, in the supervisor and in a worker."""


def raise_file_limit() -> None:
    """Raise the soft limit of open files as far as the hard one allows; the workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(options: Options, lanes: ServedLanes, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called when all workers answer.

    Raises ServerConfigError, RunDirError, and ValueError for a config that cannot be used; nothing is left
    behind then.
    """

    def validate() -> None:
        config = load(options.config, os.environ)
        # makes the passport's key before several workers would
        build_trust(config.trust, config.base_dir, options.run_dir, options.inline_issuers)
        open_store(config.redis.url, config.redis.namespace).close()

    load(options.config, os.environ)
    write_plugin_info(options.run_dir)
    sockets = open_sockets(options.run_dir, lanes)
    try:
        if options.gid is not None:
            give_to_group(options.run_dir, sockets, options.gid)
        raise_file_limit()
        validate()
        uvloop.run(Supervisor(options, sockets, validate, ready).run())
    finally:
        close_sockets(sockets, options.run_dir)
