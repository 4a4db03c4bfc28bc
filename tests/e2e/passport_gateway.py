"""A gateway whose issuer is asked over HTTP and whose passport keys are a keyring in Redis."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.gateway import CLUSTER, ISSUER, ISSUER_FIELDS, Gateway


class AuthServer:
    """An issuer: its keys at /jwks and what it knows of its users at /userinfo. `away` answers 503. What is
    asked of users waits until it is `free`."""

    def __init__(self) -> None:
        self.keys = {"k1": ec.generate_private_key(ec.SECP256R1())}
        self.away = False
        self.free = threading.Event()
        self.free.set()
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if self.path != "/jwks":
                    outer.free.wait(30)
                found = outer.jwks() if self.path == "/jwks" else {"grade": "gold", "roles": ["courier"]}
                body = b"" if outer.away else json.dumps(found).encode()
                self.send_response(503 if outer.away else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def jwks(self) -> dict[str, Any]:
        return {
            "keys": [
                json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())) | {"kid": kid, "alg": "ES256"}
                for kid, key in self.keys.items()
            ]
        }

    def token(self, user: str = "alice", kid: str = "k1", **claims: Any) -> str:
        now = time.time()
        payload = {**ISSUER, "sub": user, "iat": int(now) - 1, "exp": int(now + 600), **claims}
        return jwt.encode(payload, self.keys[kid], algorithm="ES256", headers={"kid": kid})

    def rotate(self, kid: str) -> None:
        self.keys = {kid: ec.generate_private_key(ec.SECP256R1())}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class PassportGateway(Gateway):
    """Routes: /secure, /reused (a passport serves 10 s), /txn (Transaction Token), /cookie, /rich (enriched),
    /patient (the first request waits for that), /anonymous, and the public keys."""

    auth: AuthServer

    def start(self) -> None:
        self.auth = AuthServer()
        self.env["no_proxy"] = "127.0.0.1"
        secret = self.dir / "keyring.secret"
        secret.write_text("a secret that seals the keys of this test\n")
        secret.chmod(0o600)
        self.start_redis()
        issuer = {"name": "main", **ISSUER_FIELDS, "jwks_url": f"{self.auth.url}/jwks", "refresh": 1}
        rich = {**issuer, "name": "rich", "iss": "https://rich.example"}
        rich["enrich"] = {"url": f"{self.auth.url}/userinfo", "claims": ["grade", "roles"]}
        patient = {**issuer, "name": "patient", "iss": "https://patient.example"}
        patient["enrich"] = {**rich["enrich"], "wait_ms": 100}
        server = {
            "issuers": [issuer, rich, patient],
            "passport": {"keyring": {"store": "redis", "secret_file": str(secret)}},
        }
        (self.dir / "server.yaml").write_text(json.dumps(server))
        self.keys("init")
        self._start_both()
        self.push(self.config())

    def keys(self, verb: str, *args: str) -> Any:
        """What `kgate keys` says."""
        sealed = ("--secret-file", str(self.dir / "keyring.secret"))
        return json.loads(self.kgate("keys", verb, *args, *sealed, "--output", "json").stdout)

    def restart_server(self) -> None:
        """End the plugin server, and start it anew."""
        self.stop_server()
        self.start_server()

    def stop_server(self) -> None:
        """End the plugin server."""
        process = self.processes["server"]
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()

    def config(self) -> dict[str, Any]:
        main = f"http://{self.upstreams['main'].address}"

        def service(name: str, **config: Any) -> dict[str, Any]:
            route = {"name": name, "hosts": ["shop.example"], "paths": [f"/{name}"]}
            plugin = {"name": "passport", "config": {"issuers": ["main"], "reuse_for": 0, **config}}
            return {"name": name, "url": main, "routes": [route], "plugins": [plugin]}

        issuers = [
            {"name": name, **ISSUER_FIELDS, "iss": iss, "jwks": {"keys": []}}
            for name, iss in (
                ("main", ISSUER["iss"]),
                ("rich", "https://rich.example"),
                ("patient", "https://patient.example"),
            )
        ]
        jwks = {
            "name": "keys",
            "hosts": ["shop.example"],
            "paths": ["/.well-known/kgate-jwks.json"],
            "plugins": [{"name": "passport", "config": {"mode": "jwks"}}],
        }
        return {
            "_format_version": "3.0",
            "clusters": {"test": {**CLUSTER, "nodes": self.admins, "run_dir": str(self.run_dir)}},
            "issuers": issuers,
            "services": [
                service("secure"),
                service("txn", profile="txn-token", audience="shop.internal"),
                service("rich", issuers=["rich"], claims={"grade": "grade"}),
                service("patient", issuers=["patient"], claims={"grade": "grade"}),
                service("reused", reuse_for=10),
                service(
                    "cookie",
                    token_from=["cookie:session", "header:X-Session-Token"],
                    header="X-Who",
                    device="header:X-Device-Id",
                    forward_token=False,
                ),
                service("anonymous", mode="optional", anonymous="passport"),
            ],
            "routes": [jwks],
        }

    def close(self) -> None:
        super().close()
        self.auth.close()
