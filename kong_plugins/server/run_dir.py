"""The run dir: listening sockets and the files that Kong's query commands print."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from kong_plugins.engine.plugin import plugin_info_json
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import direct_lane, plugin_info_file

ServedLanes = Literal["pdk", "express", "both"]
DIR_MODE, SOCKET_MODE = 0o750, 0o660
BACKLOG = 1024
MIN_FREE_BYTES = 65_536
EXPRESS = "express"


class RunDirError(Exception):
    """The run dir or a socket in it cannot be used."""


def lane_names(lanes: ServedLanes) -> tuple[str, ...]:
    """The names of the sockets: "express" (always: it also carries the pdk lane's prepared answers and outcomes), and
    for the pdk lane two of each plugin: for this version's adapter and for that of the version before."""
    pdk = () if lanes == "express" else (*PLUGINS, *map(direct_lane, PLUGINS))
    return (EXPRESS, *pdk)


def socket_path(run_dir: Path, name: str) -> Path:
    """Where the socket of this name is."""
    return run_dir / f"{name}.sock"


def write_plugin_info(run_dir: Path) -> list[Path]:
    """Write what Kong's query commands print, one file a plugin. Raises RunDirError."""
    written = []
    try:
        run_dir.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
        for name in PLUGINS:
            path = plugin_info_file(run_dir, name)
            # aside and renamed: a Kong that starts now reads the old file or the new one, whole
            text = plugin_info_json(name)
            written.append(path)
            if _holds(path, text):
                continue  # a restart must not fail when the disk is full
            aside = path.with_suffix(".tmp")
            aside.write_text(text, encoding="utf-8")
            aside.rename(path)
    except OSError as error:
        raise RunDirError(f"{run_dir}: {error.strerror or error}") from error
    return written


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def group_id(name_or_id: str) -> int:
    """A group's number. Raises RunDirError."""
    if name_or_id.isdigit():
        return int(name_or_id)
    try:
        return grp.getgrnam(name_or_id).gr_gid
    except KeyError as error:
        raise RunDirError(
            f"group {name_or_id}: there is none of this name here; a number needs no name"
        ) from error


def give_to_group(run_dir: Path, sockets: Iterable[str], gid: int) -> None:
    """Give the run dir, the sockets and what Kong reads there to the group of Kong's workers.

    New files of the run dir get it too (setgid). Raises RunDirError.
    """
    paths = [plugin_info_file(run_dir, name) for name in PLUGINS]
    paths += [socket_path(run_dir, name) for name in sockets]
    try:
        for path in [run_dir, *paths]:
            os.chown(path, -1, gid)
        run_dir.chmod(DIR_MODE | stat.S_ISGID)
    except OSError as error:
        hint = f"start as root or as a member of group {gid}"
        raise RunDirError(f"{run_dir}: cannot be given to group {gid}: {error.strerror}; {hint}") from error


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
    """The listening sockets by their names (`lane_names`). Raises RunDirError."""
    sockets: dict[str, socket.socket] = {}
    try:
        run_dir.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
        for name in lane_names(lanes):
            sockets[name] = listen(socket_path(run_dir, name))
    except OSError as error:
        raise RunDirError(f"{run_dir}: {error.strerror or error}") from error
    except RunDirError:
        close_sockets(sockets, run_dir)
        raise
    return sockets


def disk_full(run_dir: Path) -> bool:
    """Whether next to nothing can be written there: fetched keys are not saved then, the rest goes on."""
    try:
        found = os.statvfs(run_dir)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < MIN_FREE_BYTES


def close_sockets(sockets: dict[str, socket.socket], run_dir: Path) -> None:
    """Close the sockets and remove their files."""
    for name, sock in sockets.items():
        sock.close()
        with contextlib.suppress(OSError):
            socket_path(run_dir, name).unlink()
