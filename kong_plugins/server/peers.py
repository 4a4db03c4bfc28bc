"""Who may talk to the plugin server: the socket is worth as much as the signing key."""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

_UCRED = struct.Struct("3i")
_SO_PEERGROUPS = 59
"""Linux (include/uapi/asm-generic/socket.h); Python's socket module does not name it."""


class Peer(NamedTuple):
    """The process at the other end, when it connected."""

    pid: int
    uid: int
    gid: int
    gids: frozenset[int]


class Allowed(NamedTuple):
    """Users and groups that may connect."""

    uids: frozenset[int]
    gids: frozenset[int]

    def admits(self, peer: Peer) -> bool:
        """Whether the peer is one of them."""
        return peer.uid in self.uids or not self.gids.isdisjoint(peer.gids)


def default_allowed(uids: tuple[int, ...] = (), gids: tuple[int, ...] = ()) -> Allowed:
    """The server's own user and root, and who the operator adds."""
    return Allowed(frozenset({os.geteuid(), 0, *uids}), frozenset(gids))


def peer_of(sock: socket.socket) -> Peer:
    """Read SO_PEERCRED and, where the kernel has it, SO_PEERGROUPS."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    groups = {gid}
    try:
        more = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)  # the most that Python takes
        groups |= {group for (group,) in struct.iter_unpack("I", more)}
    except OSError:
        pass  # an older kernel, or more than 256 groups: the primary one is all that can be known
    return Peer(pid, uid, gid, frozenset(groups))
