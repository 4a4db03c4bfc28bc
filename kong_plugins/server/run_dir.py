"""The run dir: listening sockets and the files that Kong's query commands print."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Literal

from kong_plugins.engine.plugin import plugin_info_json
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import express_socket, plugin_info_file, plugin_socket

ServedLanes = Literal["pdk", "express", "both"]
DIR_MODE, SOCKET_MODE = 0o750, 0o660
BACKLOG = 1024
EXPRESS = "express"


class RunDirError(Exception):
    """The run dir or a socket in it cannot be used."""


def write_plugin_info(run_dir: Path) -> list[Path]:
    """Write what Kong's query commands print, one file a plugin. Raises RunDirError."""
    written = []
    try:
        run_dir.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
        for name in PLUGINS:
            path = plugin_info_file(run_dir, name)
            # aside and renamed: a Kong that starts now reads the old file or the new one, whole
            aside = path.with_suffix(".tmp")
            aside.write_text(plugin_info_json(name), encoding="utf-8")
            aside.rename(path)
            written.append(path)
    except OSError as error:
        raise RunDirError(f"{run_dir}: {error.strerror or error}") from error
    return written


def listen(path: Path) -> socket.socket:
    """A listening unix socket at `path`, taking the place of a dead server's. Raises RunDirError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists():
            if _answers(path):
                raise RunDirError(f"{path}: another plugin server listens there; stop it first")
            path.unlink()
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(SOCKET_MODE)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise RunDirError(f"{path}: {error.strerror or error}") from error
    except RunDirError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def open_sockets(run_dir: Path, lanes: ServedLanes) -> dict[str, socket.socket]:
    """The listening sockets by plugin name, and "express" (always: it also carries the pdk lane's prepared
    answers and outcomes). Raises RunDirError."""
    sockets: dict[str, socket.socket] = {}
    try:
        run_dir.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
        sockets[EXPRESS] = listen(express_socket(run_dir))
        if lanes != "express":
            for name in PLUGINS:
                sockets[name] = listen(plugin_socket(run_dir, name))
    except OSError as error:
        raise RunDirError(f"{run_dir}: {error.strerror or error}") from error
    except RunDirError:
        close_sockets(sockets, run_dir)
        raise
    return sockets


def close_sockets(sockets: dict[str, socket.socket], run_dir: Path) -> None:
    """Close the sockets and remove their files."""
    for name, sock in sockets.items():
        sock.close()
        path = express_socket(run_dir) if name == EXPRESS else plugin_socket(run_dir, name)
        with contextlib.suppress(OSError):
            path.unlink()
