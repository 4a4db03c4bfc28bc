r"""A route that another one answers for.

A regular expression is tried before every plain path, the one with the higher `regex_priority` first, and matches
from the path's start on: one that matches a path of another route with the same hosts and methods takes all its
requests. Of two with the same priority nobody can tell which one gets them.

Why: measured on Kong 3.9.3: regexes are anchored at the start only and always come before prefixes (`~/api` takes
/api/users/1 from `/api/users`); of equal ones the larger id wins.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/api/v\\d+/x", "~/list$"]}
      - {name: two, paths: [/api/users, /list]}

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/users/[^/]+$"]}
      - {name: me, paths: ["~/users/me$"], regex_priority: 1}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/api/.*"]}
      - {name: two, paths: [/api/users]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/api"]}
      - {name: two, paths: [/api/users]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/users/[^/]+$"]}
      - {name: me, paths: ["~/users/me$"]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.matching import compile_path, covers
from decl.lint.view import View
from decl.model import Route

ID = "route-shadowed"
LEVEL: Level = WARNING

_SEGMENT = re.compile(r"/[A-Za-z0-9_-]+/")
_LITERAL = re.compile(r"[A-Za-z0-9_/%~-]*")


class _Regex(NamedTuple):
    route: Route
    text: str
    compiled: re.Pattern[str]

    @property
    def priority(self) -> int:
        return self.route.fields.get("regex_priority") or 0


class _Target(NamedTuple):
    """A path that means itself; exact: nothing may follow it. priority: of a regex, None of a plain path."""

    path: str
    exact: bool
    priority: int | None


def check(view: View) -> Iterator[Hit]:
    """Paths that a regex of another route matches."""
    regexes = _Regexes(view)
    if not regexes:
        return
    for found in view.routes:
        for path in found.route.fields.get("paths") or ():
            target = _target(path, found.route)
            if target is None:
                continue
            for other in regexes.near(target.path):
                if other.route is found.route or not _comes_first(other, target, path):
                    continue
                if covers(other.route.fields, found.route.fields) and _takes_all(other.compiled, target):
                    yield Hit(found.route.path, _message(other, target, path), first=other.route.path)
                    break


class _Regexes:
    """All regexes, by what their matches begin with: of thousands only few need to be tried for a path."""

    def __init__(self, view: View) -> None:
        self._literal: dict[str, list[_Regex]] = {}
        self._by_start: dict[str, list[_Regex]] = {}
        for found in view.routes:
            for path in found.route.fields.get("paths") or ():
                if path.startswith("~") and (compiled := compile_path(path)) is not None:
                    regex = _Regex(found.route, path[1:], compiled)
                    if _LITERAL.fullmatch(regex.text):
                        self._literal.setdefault(regex.text, []).append(regex)
                    else:
                        self._by_start.setdefault(_start(regex.text), []).append(regex)

    def __bool__(self) -> bool:
        return bool(self._literal or self._by_start)

    def near(self, path: str) -> Iterator[_Regex]:
        """Those that may match it."""
        if self._literal:
            for end in range(len(path) + 1):
                yield from self._literal.get(path[:end], ())
        yield from self._by_start.get("", ())
        yield from self._by_start.get(_start(f"{path}/"), ())


def _target(path: str, route: Route) -> _Target | None:
    if not path.startswith("~"):
        return _Target(path, False, None)
    literal = path[1:].removesuffix("$")
    if not _LITERAL.fullmatch(literal):
        return None  # whether one regex holds another is more than a lint rule can tell
    return _Target(literal, path.endswith("$"), route.fields.get("regex_priority") or 0)


def _comes_first(other: _Regex, target: _Target, path: str) -> bool:
    """Whether Kong tries it before, or may: equal ones are told at the one that is more exact."""
    if target.priority is None or other.priority > target.priority:
        return True
    return other.priority == target.priority and other.text != path[1:]


def _takes_all(regex: re.Pattern[str], target: _Target) -> bool:
    """Whether it matches the path and, where more may follow, that too."""
    follow = ("",) if target.exact else ("", "/z", "zz9")
    return all(regex.match(target.path + more) for more in follow)


def _message(other: _Regex, target: _Target, path: str) -> str:
    if target.priority is None:
        return f"route {other.route.name!r} takes the requests for {path}: a regex comes first"
    if other.priority > target.priority:
        return f"route {other.route.name!r} takes the requests for {path}: its regex_priority is higher"
    return (
        f"route {other.route.name!r} may take the requests for {path}: of two regexes the larger id comes first; "
        "set regex_priority"
    )


def _start(path: str) -> str:
    """The first segment where it is plain text."""
    match = _SEGMENT.match(path)
    return match.group() if match is not None and "|" not in path else ""
