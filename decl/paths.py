"""How Kong 3.9 rewrites the path of a request before it routes, and writes it again for the upstream."""

from __future__ import annotations

import re

_RESERVED = frozenset(b"!#$%&'()*+,/:;=?@[]")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(r"[^!#$%&'()*+,/:;=?@\[\]A-Za-z0-9\-_.~]")


class BadPath(ValueError):
    """nginx refuses such a request line: 400."""


def check_raw(path: str) -> None:
    """Refuse what nginx refuses: a broken escape, a NUL, dot segments that climb above the root."""
    if not path.startswith("/"):
        raise BadPath(path)
    if _BAD_ESCAPE.search(path) or "%00" in path:
        raise BadPath(path)
    depth = 0
    decoded = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), path)
    for segment in re.sub(r"/+", "/", decoded).split("/")[1:]:
        if segment == "..":
            depth -= 1
            if depth < 0:
                raise BadPath(path)
        elif segment not in ("", "."):
            depth += 1


def normalise(path: str) -> str:
    """Decode unreserved escapes, upper-case the others, merge slashes, resolve dot segments.

    path: bytes as latin-1 text, without the query. Raises BadPath.
    """
    check_raw(path)
    decoded = _ESCAPE.sub(_decode, path)
    merged = re.sub(r"/{2,}", "/", decoded)
    out: list[str] = []
    segments = merged.split("/")[1:]
    for i, segment in enumerate(segments):
        last = i == len(segments) - 1
        if segment == ".":
            if last:
                out.append("")
        elif segment == "..":
            if out:
                out.pop()
            if last:
                out.append("")
        else:
            out.append(segment)
    return "/" + "/".join(out)


def escape(path: str) -> str:
    """What stands in the request line to the upstream: ASCII, with everything unsafe escaped."""
    return _TO_ESCAPE.sub(lambda m: f"%{ord(m[0]):02X}", path)


def _decode(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return match[0].upper() if code in _RESERVED else chr(code)


def join(base: str | None, matched: str, path: str, strip: bool) -> str:
    """The upstream's path: the service's path and what is left of the request's after stripping.

    matched: the part of `path` that the route matched. Kong's v0 and v1 handling give the same results.
    """
    if strip and matched not in ("", "/"):
        rest = path[len(matched) :]
        if matched.endswith("/"):
            rest = "/" + rest
    else:
        rest = path
        if rest == "/":
            return base or "/"
    stem = (base or "").rstrip("/")
    if not rest:
        return stem or "/"
    return stem + (rest if rest.startswith("/") else "/" + rest)
