"""A little shop for `bench.abuse_record`: it knows its users, paths and coupons, and answers as a service would."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs, unquote_plus, urlsplit

SHOPS, SCRIPTS, USERS, COUPONS = 400, 120, 260, 40
STATUSES = {200: "OK", 201: "Created", 401: "Unauthorized", 404: "Not Found", 409: "Conflict", 500: "Error"}


def password(user: str) -> str:
    """What a user logs in with."""
    return f"{user}-pass"


class Shop:
    """Answers HTTP/1.1 on a free loopback port."""

    def __init__(self) -> None:
        self._left = COUPONS
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?im)^content-length: *(\d+)", head)
                body = (await reader.readexactly(int(length[1]))).decode() if length else ""
                user = re.search(r"(?im)^x-consumer-username: *(\S+)", head)
                is_guest = re.search(r"(?im)^x-anonymous-consumer: *true", head)
                method, target, _ = head.split(" ", 2)
                status = self.answer(method, target, body, user[1] if user and not is_guest else "")
                text = f"{STATUSES[status]}\n" * 20
                writer.write(
                    f"HTTP/1.1 {status} {STATUSES[status]}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
                )
                if re.search(r"(?im)^connection: *close", head):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # Kong has closed an idle connection, or it is the end
        finally:
            writer.close()

    def answer(self, method: str, target: str, body: str, user: str) -> int:
        """The status of a request; user: whom Kong has authenticated, or ""."""
        url = urlsplit(target)
        match method, *url.path.strip("/").split("/"):
            case "GET", "":
                return 200
            case "GET", "shops", number:
                return 200 if number.isdigit() and int(number) < SHOPS else 404
            case "GET", "static", name if found := re.fullmatch(r"(\d+)\.js", name):
                return 200 if int(found[1]) < SCRIPTS else 404
            case "GET", "users", name:
                return 200 if _is_user(name) else 404
            case "GET", "search":
                # the bug that somebody has found
                return 500 if "'" in unquote_plus(url.query) else 200
            case "POST", "api", "login":
                given = parse_qs(body)
                name = given.get("user", [""])[0]
                return 200 if _is_user(name) and given.get("password") == [password(name)] else 401
            case "POST", "orders":
                return 201 if user else 401
            case "POST", "coupons", "redeem":
                if not user:
                    return 401
                self._left -= 1
                return 200 if self._left >= 0 else 409
        return 404


def _is_user(name: str) -> bool:
    found = re.fullmatch(r"user-(\d{1,4})", name)
    return found is not None and int(found[1]) < USERS
