"""HTTP/1 messages as bytes, read by nginx's rules. Pure: bytes in, values out.

Rules: RFC 9112, and where nginx 1.25 is stricter or laxer than it, nginx (ngx_http_parse.c, ngx_http_request.c).
Text is latin-1 of the bytes, so any byte survives.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Pairs = list[tuple[str, str]]
LINE_MAX = 8192
"""large_client_header_buffers is 4 of 8 KB: the longest line, ..."""
HEAD_MAX = 4 * LINE_MAX
"""... and all lines together."""
RESPONSE_HEAD_MAX = 256 * 1024

_END = re.compile(rb"\r?\n\r?\n")
_REQUEST = re.compile(rb"([A-Z_-]+) +([^\x00-\x20\x7f]+)(?: +HTTP/(\d)\.(\d{1,3}) *)?")
_ABSOLUTE = re.compile(rb"[A-Za-z]+://([^/?#]*)")
_NAME = re.compile(rb"[A-Za-z0-9_-]+")
_BAD_NAME = re.compile(rb"[\x00-\x20\x7f]")
_STATUS = re.compile(rb"HTTP/(\d+)\.(\d+) +(\d{3})(?: (.*))?")
_HOST = re.compile(r"(?:\[[^\]/]*\]|(?!.*\.\.)[^\x00-\x20\x7f/:]+)(?::[^/]*)?")
# A second one of these is refused; of others there may be many.
_UNIQUE = frozenset(
    {
        "host",
        "if-modified-since",
        "if-unmodified-since",
        "if-match",
        "if-none-match",
        "content-length",
        "content-range",
        "if-range",
        "transfer-encoding",
        "expect",
        "authorization",
    }
)


class BadRequest(Exception):
    """A request that nginx refuses; status 494 is "header too large", which a client sees as 400.

    version: `0.9` gets its answer without a head.
    """

    def __init__(self, status: int, version: str = "1.1") -> None:
        super().__init__(status)
        self.status, self.version = status, version


class BadResponse(Exception):
    """An answer that nginx cannot use: 502."""


class RequestHead(NamedTuple):
    """version: `0.9`, `1.0` or `1.1`; length: of the body, None when it is chunked, 0 for none; authority: host
    and port of a target in absolute form, else ""."""

    method: str
    target: str
    version: str
    headers: Pairs
    length: int | None
    authority: str = ""


class ResponseHead(NamedTuple):
    """version `0.9`: no head at all, every byte is the body."""

    version: str
    status: int
    reason: str
    headers: Pairs


def request_end(buffer: bytes | bytearray) -> int:
    """How many bytes the head at the start of the buffer takes; 0 while it is not complete.

    Raises BadRequest as soon as it is too large.
    """
    line = buffer.find(b"\n")
    if line > LINE_MAX or (line < 0 and len(buffer) > LINE_MAX):
        raise BadRequest(414)
    if line < 0:
        return 0
    first = _REQUEST.fullmatch(bytes(buffer[:line]).removesuffix(b"\r"))
    if first is None or first[3] is None:
        return line + 1  # HTTP/0.9, or refused by request_head
    found = _END.search(buffer, line - 1)
    end = found.end() if found else 0
    if (end or len(buffer)) - line > HEAD_MAX:
        raise BadRequest(494)
    if not end and len(buffer) - buffer.rfind(b"\n") > LINE_MAX:
        raise BadRequest(494)
    return end


def request_head(data: bytes) -> RequestHead:
    """The head of a request, as `request_end` cut it. Raises BadRequest."""
    first, _, rest = data.partition(b"\n")
    match = _REQUEST.fullmatch(first.removesuffix(b"\r"))
    if match is None:
        raise BadRequest(400)
    method, target = match[1].decode("latin-1"), match[2]
    absolute = _ABSOLUTE.match(target)
    authority = absolute[1].decode("latin-1") if absolute else ""
    if absolute:
        target = target[absolute.end() :]
        target = target if target.startswith(b"/") else b"/" + target
    elif not target.startswith(b"/"):
        raise BadRequest(400)
    if match[3] is None:
        if method != "GET":
            raise BadRequest(400, "0.9")
        return RequestHead(method, target.decode("latin-1"), "0.9", [], 0)
    if int(match[3]) > 1:
        raise BadRequest(505)
    if int(match[3]) < 1:
        raise BadRequest(400)
    version = "1.0" if int(match[4]) == 0 else "1.1"
    headers = _lines(rest, strict=True)
    length = _check(method, version, headers)
    return RequestHead(method, target.decode("latin-1"), version, headers, length, authority)


def _lines(data: bytes, strict: bool) -> Pairs:
    headers: Pairs = []
    for raw in data.split(b"\n"):
        line = raw.removesuffix(b"\r")
        if not line:
            continue
        if strict and len(line) > LINE_MAX:
            raise BadRequest(494)
        name, _, value = line.partition(b":")
        if not name or _BAD_NAME.search(name) or b"\0" in value:
            raise BadRequest(400) if strict else BadResponse("invalid header")
        if _NAME.fullmatch(name) or not strict:  # other names are dropped: ignore_invalid_headers is on
            headers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    return headers


def _check(method: str, version: str, headers: Pairs) -> int | None:
    seen: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in _UNIQUE and lower in seen:
            raise BadRequest(400)
        seen.setdefault(lower, value)
    host = seen.get("host")
    if version != "1.0" if host is None else not _HOST.fullmatch(host):
        raise BadRequest(400)
    length, coding = seen.get("content-length"), seen.get("transfer-encoding")
    if length is not None and not (length.isascii() and length.isdigit() and len(length) < 19):
        raise BadRequest(400)
    if coding is not None:
        if version == "1.0":
            raise BadRequest(400)
        if coding.lower() != "chunked":
            raise BadRequest(501)
        if length is not None:
            raise BadRequest(400)
    return None if coding is not None else int(length or 0)


def response_end(buffer: bytes | bytearray) -> int:
    """As request_end, for a response. -1: this is no HTTP/1, every byte is the body. Raises BadResponse."""
    start = bytes(buffer[:9])
    if not b"HTTP/".startswith(start[:5]) and not start.startswith(b"HTTP/"):
        return -1
    line = buffer.find(b"\n")
    if line >= 0 and not _STATUS.fullmatch(bytes(buffer[:line]).removesuffix(b"\r")):
        return -1
    found = _END.search(buffer)
    if not found and len(buffer) > RESPONSE_HEAD_MAX:
        raise BadResponse("header too big")
    return found.end() if found else 0


def response_head(data: bytes) -> ResponseHead:
    """The head of a response, as `response_end` cut it. Raises BadResponse."""
    first, _, rest = data.partition(b"\n")
    match = _STATUS.fullmatch(first.removesuffix(b"\r"))
    if match is None:
        raise BadResponse("invalid status line")
    reason = (match[4] or b"").decode("latin-1")
    headers = _lines(rest, strict=False)
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    codings = [value for name, value in headers if name.lower() == "transfer-encoding"]
    if len(lengths) > 1 or any(not (value.isascii() and value.isdigit()) for value in lengths):
        raise BadResponse("content length")
    if (codings and lengths) or any(value.lower() != "chunked" for value in codings):
        raise BadResponse("transfer encoding")
    return ResponseHead(f"{int(match[1])}.{int(match[2])}", int(match[3]), reason, headers)


class BodyError(Exception):
    """A chunked body that breaks the rules."""


class Chunked:
    """Decoder of a chunked body; trailers are read and dropped, as nginx does."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # bytes of this chunk
        self._state = "size"
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The body bytes in what came; `rest` holds what follows the body. Raises BodyError."""
        self._buffer += data
        out = bytearray()
        while not self.done:
            if self._state == "data":
                part = self._buffer[: self._left]
                out += part
                del self._buffer[: len(part)]
                self._left -= len(part)
                if self._left:
                    break
                self._state = "end"
            line = self._line()
            if line is None:
                break
            if self._state == "end":
                if line:
                    raise BodyError("chunk is longer than its size")
                self._state = "size"
            elif self._state == "trailer":
                self.done = not line
            else:
                self._left = self._size(line)
                self._state = "data" if self._left else "trailer"
        return bytes(out)

    @property
    def rest(self) -> bytes:
        """What came after the end of the body."""
        return bytes(self._buffer)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > LINE_MAX:
                raise BodyError("line too long")
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line

    @staticmethod
    def _size(line: bytes) -> int:
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
            raise BodyError("chunk size")
        return int(digits, 16)


def encode_head(first: str, headers: Pairs) -> bytes:
    """A start line and headers as bytes. Line ends in names and values are dropped: nothing can be smuggled."""
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    return (
        "\r\n".join(line.replace("\r", "").replace("\n", "") for line in lines).encode("latin-1")
        + b"\r\n\r\n"
    )
