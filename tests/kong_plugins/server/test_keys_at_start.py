"""A server that has just started: issuers' keys come over the network, and requests do not wait for them."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kong_plugins.server.running import Asker, Server, chain_of, facts_of
from tests.kong_plugins.server.test_robustness import KEY, PASSPORT, token

PARTS = ["passport", PASSPORT]


class _Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(0.2)
        body = json.dumps({"keys": [KEY]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/jwks"
        server.shutdown()
        thread.join()


def test_the_first_requests_find_the_keys_in_every_worker(serve: Callable[..., Server], issuer: str) -> None:
    anchor = {"name": "main", "iss": "https://auth.example", "audiences": [], "algorithms": ["HS256"]}
    message = ["d", chain_of(*PARTS), facts_of("r", authorization=f"Bearer {token('alice')}"), PARTS]
    for left in reversed(range(8)):
        server = serve(workers=2, issuers=json.dumps([{**anchor, "jwks_url": issuer}]))
        askers = [Asker(server.run_dir / "express.sock") for _ in range(4)]
        found = [asker.ask(message)[0].get("rs") for asker in askers]
        for asker in askers:
            asker.close()
        if found == [None] * 4:
            return
        # a worker waits for half a second: what came on this machine after that was not waited for
        assert left, found
        server.end()
