"""A front server that says who asked it, by the passport: python examples/first/front.py PORT

It believes what came over loopback from the gateway. A real front server verifies the passport: see
examples/fastapi_front.py.
"""

from __future__ import annotations

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Front(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        """The user of the passport."""
        passport = self.headers.get("X-Passport", "")
        user = None
        if passport:
            claims = passport.split(".")[1]
            user = json.loads(base64.urlsafe_b64decode(claims + "==="))["sub"]
        body = json.dumps({"path": self.path, "user": user}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Front).serve_forever()
