"""Route matching with Kong 3.9.3's order of precedence (flavour traditional_compatible).

Kong gives each pair of route and path a 64-bit number and takes the largest that matches. In 3.9.3 two of its
fields are shifted as 32-bit numbers, so a plain host and a regular expression count for more than the
number of matched attributes, and four attributes count for more than all: the same here.
"""

from __future__ import annotations

import re
import sys
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Entity = Mapping[str, Any]
_PARTS = uuid.UUID("7f145bf9-0dce-4f91-98eb-debbce4b9f6b")  # Kong's namespace for the parts of a route

_ESCAPE = re.compile(r"\\(?:x\{([0-9A-Fa-f]{1,8})\}|[pP](?:\{[^}]*\}|[A-Z])|.)", re.DOTALL)


class Match(NamedTuple):
    """The chosen route and the part of the path that it matched ("" when it names no path)."""

    route: Entity
    matched: str


@dataclass(frozen=True)
class Request:
    """What routes match on: the Host header as sent, listener port, headers by lower-case name."""

    method: str
    host: str
    port: int
    path: str
    headers: Mapping[str, Sequence[str]]


def _s32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def priority(route: Entity, path: str | None) -> int:
    """The number by which Kong 3.9.3 sorts this route for one of its paths."""
    hosts = route.get("hosts")
    headers = route.get("headers") or {}
    weight = sum(
        1 for f in ("sources", "destinations", "methods", "hosts", "headers", "snis") if route.get(f)
    )
    regex = path is not None and path.startswith("~")
    if path is not None:
        weight += 1
    value = _s32(weight << 29) | _s32(min(len(headers), 255) << 20)
    if regex:
        value |= _s32((route.get("regex_priority") or 0) << 19)
    if hosts is not None and not any("*" in host for host in hosts):
        value |= 1 << 60  # an empty list too
    if regex:
        value |= 1 << 51
    if path is not None and not regex:
        value |= len(path.encode()) & 0x7FFFF
    return value & 0xFFFFFFFFFFFFFFFF


class Router:
    """Matches requests against the routes of one configuration."""

    def __init__(self, routes: Sequence[Entity]) -> None:
        found = [
            (priority(route, path), part, route, path) for route in routes for part, path in _parts(route)
        ]
        found.sort(key=lambda each: each[:2], reverse=True)  # one after the other within a part: it is stable
        self._entries = [_Entry(route, path) for _, _, route, path in found]

    def match(self, request: Request) -> Match | None:
        """The best route for a request, or None."""
        for entry in self._entries:
            matched = entry.match(request)
            if matched is not None:
                return Match(entry.route, matched)
        return None


def _parts(route: Entity) -> Iterator[tuple[str, str | None]]:
    """The paths of a route, each with the id that settles between equal priorities (the larger one wins).

    Kong makes a route of its own of all regular expressions and of the prefixes of each length, and gives these
    new ids when there are several.
    """
    groups: dict[int, list[str]] = {}
    for path in route.get("paths") or ():
        groups.setdefault(0 if path.startswith("~") else len(path.encode()), []).append(path)
    if not groups:
        yield route["id"], None
    for i, paths in enumerate(groups.values(), 1):
        part = route["id"] if len(groups) == 1 else str(uuid.uuid5(_PARTS, f"{route['id']}#{i}"))
        for path in paths:
            yield part, path


class _Entry:
    def __init__(self, route: Entity, path: str | None) -> None:
        self.route = route
        self.prefix: str | None = None
        self.regex: re.Pattern[str] | None = None
        if path is not None and path.startswith("~"):
            self.regex = compiled(path_pattern(path))
        elif path is not None:
            self.prefix = path.encode().decode("latin-1")
        self.methods = frozenset(route.get("methods") or ())
        self.hosts = tuple(route.get("hosts") or ())
        self.headers = {
            name.lower(): [_header_test(v) for v in values]
            for name, values in (route.get("headers") or {}).items()
        }

    def match(self, request: Request) -> str | None:
        matched = ""
        if self.prefix is not None:
            if not request.path.startswith(self.prefix):
                return None
            matched = self.prefix
        elif self.regex is not None:
            found = self.regex.match(request.path)
            if not found:
                return None
            matched = found[0]
        if self.methods and request.method not in self.methods:
            return None
        if self.hosts and not any(_host_matches(host, request) for host in self.hosts):
            return None
        for name, tests in self.headers.items():
            values = request.headers.get(name, ())
            if not any(test(value) for value in values for test in tests):
                return None
        return matched


def path_pattern(path: str) -> str:
    """A route's `~...` path as a Python pattern.

    Named groups and the end are written differently; classes of Unicode (`\\p{L}`) become `\\w`, Python has none.
    """
    pattern = re.sub(r"\(\?<(?![=!])", "(?P<", path[1:])
    if "\\" in pattern:
        pattern = _ESCAPE.sub(_for_python, pattern)
    if "(?" not in pattern:
        return pattern
    pattern = re.sub(
        r"\(\?([imsx]*)U([imsx]*)(?=[:)-])", r"(?\1\2", pattern
    )  # lazy: what matches stays the same
    flags = "".join(re.findall(r"\(\?([imsx]+)(?:-[imsxU]+)?\)", pattern))  # Python wants them at the start
    bare = re.sub(r"\(\?[imsx]*(?:-[imsxU]+)?\)", "", pattern)
    return f"(?{''.join(sorted(set(flags)))})" + bare if flags else bare


def _for_python(match: re.Match[str]) -> str:
    if match[1]:
        return re.escape(chr(int(match[1], 16))) if int(match[1], 16) <= sys.maxunicode else match[0]
    return {"z": r"\Z", "p": r"\w", "P": r"\W"}.get(match[0][1], match[0])


def compiled(text: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern, without Python's warnings of what may mean something else one day. Raises re.error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "[[" and "&&"
        return re.compile(text, flags)


def _header_test(wanted: str) -> Any:
    if wanted.startswith("~*"):
        pattern = compiled(path_pattern(wanted[1:]), re.IGNORECASE)
        return lambda value: pattern.search(value) is not None
    lower = wanted.lower()
    return lambda value: value.lower() == lower


def _host_matches(wanted: str, request: Request) -> bool:
    host, _, port = (
        request.host.rpartition(":") if re.search(r":\d+$", request.host) else (request.host, "", "")
    )
    name, _, wanted_port = wanted.rpartition(":") if re.search(r":\d+$", wanted) else (wanted, "", "")
    if wanted_port and wanted_port != (port or str(request.port)):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:])
    if name.endswith(".*"):
        return host.startswith(name[:-1]) and len(host) > len(name) - 1
    return host == name
