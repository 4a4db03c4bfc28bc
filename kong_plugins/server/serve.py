"""Starting and ending the whole plugin server: what `kgate serve` calls."""

from __future__ import annotations

import errno
import logging
import os
import resource
from collections.abc import Callable
from pathlib import Path

import uvloop

from kong_plugins.identity.trust_config import build_trust
from kong_plugins.server.config import RedisConfig, ServerConfig, load
from kong_plugins.server.options import Options
from kong_plugins.server.run_dir import (
    RunDirError,
    ServedLanes,
    close_sockets,
    give_to_group,
    open_sockets,
    write_plugin_info,
)
from kong_plugins.server.supervisor import Supervisor
from kong_plugins.state.files import make_state_dir, state_key
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

    def validate() -> RedisConfig:
        config = load(options.config, os.environ)
        # makes the passport's key before several workers would
        build_trust(config.trust, config.base_dir, options.run_dir, options.inline_issuers)
        open_store(config.redis.url, config.redis.namespace, config.redis.ca_file).close()
        if config.redis.url is not None:
            _make_state_dir(options.saved_in, config)
        return config.redis

    load(options.config, os.environ)
    write_plugin_info(options.run_dir)
    sockets = open_sockets(options.run_dir, lanes)
    try:
        if options.gid is not None:
            give_to_group(options.run_dir, sockets, options.gid)
        raise_file_limit()
        redis = validate()
        uvloop.run(Supervisor(options, sockets, redis, validate, ready).run())
    finally:
        close_sockets(sockets, options.run_dir)


def _make_state_dir(folder: Path, config: ServerConfig) -> None:
    """Raises RunDirError; a full disk is none: the control state is not saved then, the rest goes on."""
    try:
        make_state_dir(folder)
        state_key(folder, config.state_key_file, config.base_dir)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise RunDirError(f"{folder}: {error.strerror}") from error
    except ValueError as error:
        raise RunDirError(str(error)) from error
