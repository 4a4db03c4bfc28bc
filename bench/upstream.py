"""The service behind the Kong that is measured: the same short answer to everything.

nginx where it is on PATH, so that it takes little of the machine; otherwise a small Python server. That one is
slower than a Kong without plugins: figures of the route `base` are then lower than they could be.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.rounds import ROOT, BenchError

_NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; default_type application/json; client_header_buffer_size 8k;
  client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3; uwsgi_temp_path {dir}/4;
  scgi_temp_path {dir}/5;
  server {{ listen {address}; return 200 '{{"items": []}}'; }}
}}
"""
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"items": []}'
)


class Upstream:
    """The server as a process; `kind` is nginx or python."""

    def __init__(self, address: str) -> None:
        """address: host:port to listen on. Raises BenchError when it does not come up."""
        self._dir = Path(tempfile.mkdtemp(prefix="kgate-upstream-", dir="/tmp"))
        nginx = shutil.which("nginx")
        self.kind = "nginx" if nginx else "python"
        if nginx:
            conf = self._dir / "nginx.conf"
            conf.write_text(_NGINX.format(dir=self._dir, address=address))
            command = [nginx, "-p", str(self._dir), "-c", str(conf)]
        else:
            command = [sys.executable, "-m", "bench.upstream", address]
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        host, _, port = address.rpartition(":")
        deadline = time.monotonic() + 10
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            time.sleep(0.02)
        self.close()
        raise BenchError(f"the upstream does not listen on {address}: is the port taken?")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._dir, ignore_errors=True)


class _Answers(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # GET requests without a body: each ends with an empty line
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined]


async def _serve(address: str) -> None:
    host, _, port = address.rpartition(":")
    server = await asyncio.get_running_loop().create_server(_Answers, host, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(sys.argv[1]))
