"""The HTTP server for probes: small, and not to be upset."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kong_plugins.server.health import Health, json_answer


async def ask(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


def with_server(work: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        health = Health(
            {"/healthz": lambda: json_answer(True, {"a": 1}), "/readyz": lambda: json_answer(False, {})}
        )
        await health.start("127.0.0.1", 0)
        try:
            await work(health.port)
        finally:
            health.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"200 OK", b'{"a": 1}\n'),
        (b"GET /healthz?x=1 HTTP/1.0\r\nHost: a\r\n\r\n", b"200 OK", b'{"a": 1}\n'),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"GET /readyz HTTP/1.1\r\n\r\n", b"503 Service Unavailable", b"{}\n"),
        (b"GET /else HTTP/1.1\r\n\r\n", b"404 Not Found", b"/healthz /readyz\n"),
        (b"POST /healthz HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b"GET or HEAD\n"),
    ],
)
def test_answers(raw: bytes, status: bytes, body: bytes) -> None:
    async def work(port: int) -> None:
        head, _, found = (await ask(port, raw)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)
        assert found == body

    with_server(work)


@pytest.mark.parametrize("raw", [b"\r\n\r\n", b"garbage\r\n\r\n", b"\xff\xfe\r\n\r\n", b"x" * 40_000])
def test_garbage_ends_its_own_connection_only(raw: bytes) -> None:
    async def work(port: int) -> None:
        await ask(port, raw)
        assert b"200 OK" in await ask(port, b"GET /healthz HTTP/1.1\r\n\r\n")

    with_server(work)
