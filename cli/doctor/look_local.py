"""Looking at this machine: the run dir and its sockets, Kong's workers, the adapter's folders."""

from __future__ import annotations

import filecmp
import grp
import os
import pwd
import socket as sockets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack

from cli.doctor.model import Adapter, Entry, Local, Node, Socket, Who
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import ADAPTER_DIR, KONG_USER, direct_lane, direct_socket, express_socket

SECONDS = 2.0
_PROC = Path("/proc")


def look_at_machine(run_dir: Path, pdk: bool, worker: Who | None) -> Local:
    """The run dir with the sockets of its lane."""
    try:
        folder = _entry(run_dir)
        paths = {"express": express_socket(run_dir)}
        paths |= {direct_lane(name): direct_socket(run_dir, name) for name in PLUGINS} if pdk else {}
        seen = tuple(_socket(name, path) for name, path in paths.items())
    except OSError as error:
        return Local(run_dir, worker=worker, error=error.strerror or str(error))
    return Local(run_dir, folder, seen, worker)


def _entry(path: Path) -> Entry:
    found = path.stat()
    return Entry(path, found.st_mode, found.st_uid, found.st_gid)


def _socket(name: str, path: Path) -> Socket:
    try:
        entry = _entry(path)
    except FileNotFoundError:
        return Socket(name, path)
    return Socket(name, path, entry, _asked(name, path))


def _asked(name: str, path: Path) -> str:
    """Why a socket does not answer, "" when it does. The express lane is asked for an answer that nobody prepared;
    the pdk lane's sockets are Kong's to talk to: taking the connection is the answer."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as sock:
        sock.settimeout(SECONDS)
        try:
            sock.connect(str(path))
            if name != "express":
                return ""
            sock.sendall(msgpack.packb(["p", "doctor"]))
            head = sock.recv(8)
        except OSError as error:
            return error.strerror or str(error)
    return (
        ""
        if len(head) == 8
        else "closes the connection: it does not admit who asks here, or is another program"
    )


def worker_of(nodes: Sequence[Node], group: str | None) -> Who | None:
    """Who Kong's workers run as: by their processes, where these are of this machine, else by --kong-group.

    Raises LookupError for a group that is not there.
    """
    if group is None:
        return next((who for node in nodes for who in [_process(node)] if who is not None), None)
    gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    try:
        uid = pwd.getpwnam(KONG_USER).pw_uid
    except KeyError:
        uid = -1  # nobody's: the group alone counts
    return Who(uid, frozenset({gid}))


def _process(node: Node) -> Who | None:
    info = node.info or {}
    pids = info.get("pids")
    workers = pids.get("workers") if isinstance(pids, Mapping) else None
    if info.get("hostname") != sockets.gethostname() or not isinstance(workers, list) or not workers:
        return None
    try:
        text = (_PROC / str(int(workers[0])) / "status").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError, TypeError):
        return None
    fields: dict[str, Any] = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if fields.get("Name", "").strip() != "nginx":
        return None
    groups = [fields["Gid"].split()[1], *fields.get("Groups", "").split()]
    return Who(int(fields["Uid"].split()[1]), frozenset(map(int, groups)))


def adapter_folders(nodes: Sequence[Node], named: Path | None) -> list[Path]:
    """The adapter folder that is named, else those on the nodes' Lua paths that are on this machine."""
    if named is not None:
        return [named]
    folders: dict[Path, None] = {}
    for node in nodes:
        for part in str(node.settings.get("lua_package_path") or "").split(";"):
            if part.endswith("/common/?.lua") and Path(part).is_absolute():
                folders[Path(part).parent.parent] = None
    return [folder for folder in folders if folder.is_dir()]


def look_at_adapter(folder: Path, express: bool) -> Adapter:
    """An installed folder against the package's. express: whether the lane's own folder is needed, too."""
    parts = ("common", "express") if express else ("common",)
    if not (folder / "common").is_dir():
        return Adapter(folder, there=False)
    ours, theirs = ({name for part in parts for name in _files(top, part)} for top in (ADAPTER_DIR, folder))
    both = sorted(ours & theirs)
    same, changed, unread = filecmp.cmpfiles(ADAPTER_DIR, folder, both, shallow=False)
    del same
    return Adapter(folder, sorted(ours - theirs), sorted([*changed, *unread]), sorted(theirs - ours))


def _files(top: Path, part: str) -> list[str]:
    found = []
    for folder, _, names in os.walk(top / part):
        found += [
            str((Path(folder) / name).relative_to(top)) for name in names if name.endswith((".lua", ".json"))
        ]
    return found
