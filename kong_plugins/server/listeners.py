"""The listening sockets: accepts connections and checks who they are of."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable, Mapping

from kong_plugins.server.peers import Allowed, Peer, peer_of
from kong_plugins.server.run_dir import EXPRESS
from kong_plugins.server.stall import LIMIT_SECONDS, TICK_SECONDS, waiting

log = logging.getLogger("kgate.supervisor")

PAUSE_SECONDS = 0.1
"""How long nothing is accepted when there are no file descriptors: the listener stays readable, a retry at once
would be a busy loop."""
BATCH = 64
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listeners:
    """Accepts while it is told to; meanwhile connections wait in the kernel.

    take: gets the lane and the descriptor (now its own) of an admitted connection. refused: a peer was not.
    """

    def __init__(
        self,
        sockets: Mapping[str, socket.socket],
        allowed: Allowed,
        take: Callable[[str, int], None],
        refused: Callable[[], None],
    ) -> None:
        self._sockets = sockets
        self._allowed = allowed
        self._give = take
        self._refused = refused
        self._wanted = False
        self._listening = False
        self._paused = False
        self._looked = time.monotonic()
        self._ticking: asyncio.TimerHandle | None = None

    def accept(self, wanted: bool) -> None:
        """Take connections only while somebody can serve them."""
        self._wanted = wanted
        self._set(wanted and not self._paused)
        if self._ticking is None:
            self._tick()

    def close(self) -> None:
        """Accept no more."""
        self.accept(False)
        if self._ticking is not None:
            self._ticking.cancel()

    def _tick(self) -> None:
        if self._listening:
            if self._late():
                for lane, listener in self._sockets.items():
                    while self._listening and self._take(lane, listener):
                        pass
            self._looked = time.monotonic()
        self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _late(self) -> bool:
        """Whether connections may have waited for so long that Kong has given up on what it sent with them: an answer
        now could reach another request (not in the express lane, see frames.py)."""
        return time.monotonic() - self._looked > LIMIT_SECONDS

    def _set(self, listening: bool) -> None:
        if listening == self._listening:
            return
        self._listening = listening
        loop = asyncio.get_running_loop()
        for lane, listener in self._sockets.items():
            if listening:
                loop.add_reader(listener.fileno(), self._take, lane, listener)
            else:
                loop.remove_reader(listener.fileno())

    def _take(self, lane: str, listener: socket.socket) -> bool:
        """Accept what waits; True when there may be more."""
        late = self._late()
        for _ in range(BATCH):
            try:
                sock, _address = listener.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                log.error("cannot accept on %s: %s", lane, error.strerror)
                if error.errno in _EXHAUSTED:
                    self._pause()
                return False
            with sock:
                try:
                    peer = peer_of(sock)
                except OSError:
                    continue
                if not self._allowed.admits(peer):
                    self._refuse(lane, peer)
                elif lane == EXPRESS or not (late and waiting([sock.fileno()])):
                    self._give(lane, sock.detach())
        return True

    def _refuse(self, lane: str, peer: Peer) -> None:
        self._refused()
        log.error(
            "%s: refused a connection of uid %d (gid %d, pid %d): add --allow-uid %d, or --allow-gid %d, to admit it",
            *(lane, peer.uid, peer.gid, peer.pid, peer.uid, peer.gid),
        )

    def _pause(self) -> None:
        self._paused = True
        self._set(False)
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._paused = False
        self._set(self._wanted)
