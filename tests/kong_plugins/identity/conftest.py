"""Tokens made by hand from base64 and cryptography's primitives, with no code of the verifier."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kong_plugins.identity.issuers import Issuer, parse_issuers

NOW = 1_800_000_000.0
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
ALL = [f"{kind}{size}" for kind in ("RS", "PS", "ES", "HS") for size in HASHES] + ["EdDSA"]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Mint:
    """An issuer's keys and every way to make a token of them, right and wrong."""

    now = NOW
    iss = "https://auth.example.com"

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = {
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "ES384": ec.generate_private_key(ec.SECP384R1()),
            "ES512": ec.generate_private_key(ec.SECP521R1()),
        }
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.secret = bytes(range(64))

    def rsa_jwk(self) -> dict[str, Any]:
        numbers = self.rsa.public_key().public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}

    def jwk(self, alg: str, /, **more: Any) -> dict[str, Any]:
        jwk: dict[str, Any] = {"kid": alg, "alg": alg, "use": "sig"}
        if alg[:2] in ("RS", "PS"):
            jwk |= self.rsa_jwk()
        elif alg[:2] == "ES":
            key = self.ec[alg].public_key()
            size = (key.key_size + 7) // 8
            curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg]
            point = key.public_numbers()
            jwk |= {"kty": "EC", "crv": curve, "x": number(point.x, size), "y": number(point.y, size)}
        elif alg == "EdDSA":
            jwk |= {"kty": "OKP", "crv": "Ed25519", "x": b64(self.ed.public_key().public_bytes_raw())}
        else:
            jwk |= {"kty": "oct", "k": b64(self.secret)}
        return jwk | more

    def jwks(self, *algs: str) -> dict[str, Any]:
        return {"keys": [self.jwk(alg) for alg in algs or ALL]}

    def sign(self, alg: str, message: bytes) -> bytes:
        digest = HASHES.get(alg[2:], hashes.SHA256())
        match alg[:2]:
            case "RS":
                return self.rsa.sign(message, padding.PKCS1v15(), digest)
            case "PS":
                pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
                return self.rsa.sign(message, pss, digest)
            case "ES":
                key = self.ec[alg]
                r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
                size = (key.key_size + 7) // 8
                return r.to_bytes(size, "big") + s.to_bytes(size, "big")
            case "HS":
                return hmac.digest(self.secret, message, getattr(hashlib, "sha" + alg[2:]))
            case _:
                return self.ed.sign(message)

    def claims(self, **changes: Any) -> dict[str, Any]:
        claims = {
            "iss": self.iss,
            "sub": "user-1",
            "aud": "shop",
            "exp": int(NOW) + 600,
            "iat": int(NOW) - 10,
            "jti": "token-1",
            "scope": "read write",
        } | changes
        return {name: value for name, value in claims.items() if value is not ...}

    def raw(self, header: bytes, payload: bytes, alg: str = "EdDSA") -> str:
        """A rightly signed token of any two byte strings."""
        message = f"{b64(header)}.{b64(payload)}"
        return f"{message}.{b64(self.sign(alg, message.encode()))}"

    def token(self, alg: str = "EdDSA", header: dict[str, Any] | None = None, **changes: Any) -> str:
        head = {"alg": alg, "kid": alg, "typ": "JWT"} | (header or {})
        head = {name: value for name, value in head.items() if value is not ...}
        return self.raw(json.dumps(head).encode(), json.dumps(self.claims(**changes)).encode(), alg)

    def certificate(self) -> bytes:
        """A self-signed certificate of the RSA key, for 127.0.0.1."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
        made = made.public_key(self.rsa.public_key()).serial_number(1)
        made = made.not_valid_before(start).not_valid_after(start.replace(year=2120))
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        made = made.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return made.sign(self.rsa, hashes.SHA256()).public_bytes(Encoding.PEM)

    def private_pem(self) -> bytes:
        return self.rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def issuer(self, **changes: Any) -> dict[str, Any]:
        item = {"name": "main", "iss": self.iss, "audiences": ["shop"], "jwks": self.jwks("EdDSA", "RS256")}
        return item | changes

    def issuers(self, **changes: Any) -> dict[str, Issuer]:
        return parse_issuers([self.issuer(**changes)], Path())


@pytest.fixture(scope="session")
def mint() -> Mint:
    return Mint()


class KeyServer:
    """A real HTTP server on loopback. `answer` is what each request gets: status, headers, body; a callable
    takes the request handler and does as it likes."""

    def __init__(self) -> None:
        self.answer: Any = (200, {}, b"{}")
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if callable(outer.answer):
                    outer.answer(self)
                    return
                status, headers, body = outer.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"

    def serve(self, document: Any) -> None:
        self.answer = (200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def use_tls(self, certificate: Path) -> None:
        """Speak TLS from now on; the file holds the key, too."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http://", "https://")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def key_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = KeyServer()
    yield server
    server.stop()
