"""A do-nothing server: answers whatever comes with the same bytes. Shows how fast the driver itself can go.

python -m bench.echo SOCKET HEX
"""

from __future__ import annotations

import select
import socket
import sys


def serve(path: str, reply: bytes) -> None:
    """Answer every chunk that comes on any connection, until the process is ended."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(256)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    open_sockets: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            sock = open_sockets.get(fd)
            if sock is None:
                sock, _ = listener.accept()
                open_sockets[sock.fileno()] = sock
                poll.register(sock.fileno(), select.EPOLLIN)
            elif sock.recv(65536):
                sock.send(reply)
            else:
                poll.unregister(fd)
                open_sockets.pop(fd).close()


if __name__ == "__main__":
    serve(sys.argv[1], bytes.fromhex(sys.argv[2]))
