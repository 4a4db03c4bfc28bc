"""Who may connect: by user, by any of a peer's groups; root and the server's own user always."""

import os
import socket

import pytest

from kong_plugins.server.peers import Allowed, Peer, default_allowed, peer_of


@pytest.mark.parametrize(
    ("uid", "gids", "admitted"),
    [
        (1000, {1000}, True),
        (0, {0}, True),
        (7, {7}, True),
        (999, {999, 8}, True),
        (999, {999}, False),
        (8, {999}, False),  # the number of a group that may come
        (999, {7}, False),  # the number of a user who may
        (999, set(), False),
    ],
)
def test_the_servers_own_user_root_and_who_was_named(
    monkeypatch: pytest.MonkeyPatch, uid: int, gids: set[int], admitted: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    allowed = default_allowed(uids=(7,), gids=(8,))
    assert allowed.admits(Peer(1, uid, min(gids, default=-1), frozenset(gids))) is admitted


def test_by_default_nobody_else() -> None:
    assert default_allowed() == Allowed(frozenset({os.geteuid(), 0}), frozenset())


def test_a_peer_is_told_by_the_kernel() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.gids == {os.getegid(), *os.getgroups()}
