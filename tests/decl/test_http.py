"""Kept connections, TLS with an own CA and a client certificate, and what must not leak into a request."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from decl.http import Pool, Tls, TransportError

Key = ec.EllipticCurvePrivateKey


def certificate(
    folder: Path, name: str, issuer: tuple[x509.Certificate, Key] | None
) -> tuple[x509.Certificate, Key]:
    """NAME.pem and NAME.key in the folder; without an issuer a CA of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer[1] if issuer else key
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        # Python 3.13 wants it (RFC 5280, section 4.2.1.1)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is None:
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, encipher_only=False,
                decipher_only=False, **usage,
            ),
            critical=True,
        )  # fmt: skip
    made = builder.sign(signer, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made, key


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[int, dict[str, str]]] = []  # noqa: RUF012 # of one test, cleared by the fixture

    def do_GET(self) -> None:
        self.seen.append((self.client_address[1], dict(self.headers.items())))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")
        if self.path == "/drop":  # as a server that closes what is idle, without saying so
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # a client that does not trust us


def serve(server: Quiet) -> Iterator[str]:
    Handler.seen.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def plain() -> Iterator[str]:
    yield from serve(Quiet(("127.0.0.1", 0), Handler))


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[str]:
    """It wants a client certificate of its CA, and is kong.example itself."""
    ca = certificate(tmp_path, "ca", None)
    for name in ("kong.example", "client"):
        certificate(tmp_path, name, ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "kong.example.pem", tmp_path / "kong.example.key")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield from serve(server)


def test_a_connection_is_kept(plain: str) -> None:
    pool = Pool(f"http://{plain}/prefix/", {"Kong-Admin-Token": "t"})
    for _ in range(3):
        assert pool.request("GET", "/a").json() == {}
    pool.close()
    assert len({port for port, _ in Handler.seen}) == 1
    assert Handler.seen[0][1]["Kong-Admin-Token"] == "t"


@pytest.mark.parametrize("path", ["/close", "/drop"])
def test_one_that_the_server_closed_is_replaced(plain: str, path: str) -> None:
    pool = Pool(f"http://{plain}")
    pool.request("GET", path)
    assert pool.request("GET", "/").status == 200
    pool.close()
    assert len({port for port, _ in Handler.seen}) == 2


def test_the_environment_sees_nothing(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    pool = Pool(f"http://{plain}")
    assert pool.request("GET", "/").status == 200
    pool.close()


def test_ca_client_certificate_and_name(secure: str, tmp_path: Path) -> None:
    def tls(**changes: str | None) -> Tls:
        files = {"ca": "ca.pem", "client_cert": "client.pem", "client_key": "client.key"}
        paths = {name: str(tmp_path / file) for name, file in files.items()}
        return Tls(**{**paths, "server_name": "kong.example", **changes})  # type: ignore[arg-type]

    pool = Pool(f"https://{secure}", timeout=30, tls=tls())
    assert pool.request("GET", "/").status == 200
    pool.close()
    for wrong in ({"ca": None}, {"server_name": None}, {"client_cert": None, "client_key": None}):
        pool = Pool(f"https://{secure}", timeout=30, tls=tls(**wrong))
        with pytest.raises(TransportError) as caught:
            pool.request("GET", "/")
        assert "TLS failed" in caught.value.reason or "client_cert" in wrong
        pool.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9", "is away: Connection refused"),
        ("http://127.0.0.1:99999", "cannot be asked: Port out of range"),
    ],
)
def test_what_cannot_be_reached(url: str, reason: str) -> None:
    with pytest.raises(TransportError, match=reason) as caught:
        Pool(url).request("PUT", "/")
    assert not caught.value.sent
