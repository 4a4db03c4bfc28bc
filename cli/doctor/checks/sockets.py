"""Kong's workers reach the plugin server's sockets, and nobody else does."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Entry, Local, Result, Who, World
from kong_plugins.kong_env import express_socket

NAME = "socket"


def check(world: World) -> Iterator[Result]:
    """The run dir, then each socket."""
    local = world.local
    if local is None:
        yield Result(NAME, "", SKIPPED, "no run dir was named", "give --run-dir where the plugin server runs")
        return
    planes = bool(world.known) and all(node.role == "control_plane" for node in world.known)
    if local.folder is None and planes and not local.named:
        yield Result(
            NAME,
            "",
            SKIPPED,
            "a control plane talks to no plugin server",
            "run doctor on a data plane with --run-dir",
        )
        return
    yield from _same(world, local)
    if local.folder is None:
        do = "start `kgate serve --run-dir` with it; in containers: mount the shared volume in both"
        yield Result(NAME, str(local.run_dir), ERROR, local.error or "there is no such folder", do)
        return
    yield from _folder(local, local.folder)
    for socket in local.sockets:
        target = str(socket.path)
        if socket.entry is None:
            yield Result(
                NAME, target, ERROR, "there is no socket", "start `kgate serve` (see its log if it does run)"
            )
            continue
        problem = _access(socket.entry, local.worker)
        if problem:
            yield problem._replace(target=target)
        if socket.error:
            do = "the server has ended or hangs: see its log, restart it (or add --allow-uid / --group for who asks)"
            yield Result(NAME, target, ERROR, f"does not answer: {socket.error}", do)
        elif not problem:
            yield Result(NAME, target, OK, "answers")


def _same(world: World, local: Local) -> Iterator[Result]:
    """Kong's adapter and the server must mean one folder."""
    here = str(express_socket(local.run_dir))
    for node in world.known:
        if node.socket is not None and node.socket != here:
            said = f"Kong's adapter talks to {node.socket}, not to {here}"
            do = "make run_dir of the cluster and `kgate serve --run-dir` the same, then `kgate sync`"
            yield Result(NAME, node.url, ERROR, said, do)


def _folder(local: Local, folder: Entry) -> Iterator[Result]:
    target, mode = str(local.run_dir), stat.S_IMODE(folder.mode)
    if mode & 0o007:
        said = f"mode {mode:04o}: everybody on the machine gets at the sockets, which are worth as much as the key"
        yield Result(NAME, target, ERROR, said, f"chmod 2750 {local.run_dir}")
    elif mode & 0o020:
        said = f"mode {mode:04o}: the group may put sockets of its own there"
        yield Result(NAME, target, WARNING, said, f"chmod 2750 {local.run_dir}")
    elif local.worker is None:
        do = "give --kong-group NAME|GID, or run doctor where Kong's workers run"
        yield Result(NAME, target, SKIPPED, "who Kong's workers run as is not known", do)
    elif not _may(folder, local.worker, 1):
        yield Result(NAME, target, ERROR, _barred(folder, local.worker), _grant(folder))
    else:
        yield Result(NAME, target, OK, f"mode {mode:04o}, group {folder.gid}")


def _access(entry: Entry, worker: Who | None) -> Result | None:
    mode = stat.S_IMODE(entry.mode)
    if mode & 0o007:
        return Result(NAME, "", ERROR, f"mode {mode:04o}: everybody may connect", f"chmod 0660 {entry.path}")
    if worker is not None and not _may(entry, worker, 2):
        return Result(NAME, "", ERROR, _barred(entry, worker), _grant(entry))
    return None


def _may(entry: Entry, who: Who, bit: int) -> bool:
    """By the rules of the file system; root may always. bit: 2 to write (connect), 1 to pass."""
    if who.uid == 0:
        return True
    if who.uid == entry.uid:
        return bool(entry.mode >> 6 & bit)
    if entry.gid in who.gids:
        return bool(entry.mode >> 3 & bit)
    return bool(entry.mode & bit)


def _barred(entry: Entry, worker: Who) -> str:
    groups = ", ".join(map(str, sorted(worker.gids)))
    mode = stat.S_IMODE(entry.mode)
    return (
        f"Kong's workers (uid {worker.uid}, groups {groups}) may not: mode {mode:04o}, owner {entry.uid}, "
        f"group {entry.gid}"
    )


def _grant(entry: Entry) -> str:
    return (
        "start `kgate serve --group` with a group of Kong's workers, or give Kong's workers the group "
        f"{entry.gid} (`kgate kong-env --group NAME`; in containers group_add, in Kubernetes fsGroup)"
    )
