"""The case files: YAML under cases/, one folder for each area.

A file: `about` (a sentence for the documentation), `mode` (dbless, the default, db, hybrid or any), `config` (posted
to /config before each case, in DB-less mode), `cases`. A case: `title`, maybe `config`, `differs` (why the sandbox
does not do so yet: the case must then fail on it), and `steps`, or the one step's own keys. `rows` makes a case of
each row, with $0, $1 ... replaced; $up1, $proxy and the like are filled in when the case runs. `leaves`: the client
closes its connection when the upstream has the request.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CASES = Path(__file__).parent / "cases"
NAME_OF = re.compile(r"\$([a-z_]\w*(?:\.port)?|\d)")
_FILE = {"about", "mode", "config", "cases"}
_CASE = {"title", "config", "differs", "steps", "rows"}
STEP = {
    "admin",
    "proxy",
    "raw",
    "config",
    "headers",
    "body",
    "text",
    "times",
    "calls",
    "log_calls",
    "starts",
    "repeat",
    "leaves",
}  # what is sent
WANT = {"status", "json", "content", "got", "seen", "tries", "counts", "rpc", "save", "within", "min_seconds"}


class Case(NamedTuple):
    """One case with its file's configuration filled in."""

    file: str
    about: str
    mode: str
    title: str
    differs: str | None
    config: Any
    steps: list[dict[str, Any]]

    @property
    def area(self) -> str:
        return self.file.partition("/")[0]

    @property
    def id(self) -> str:
        return f"{self.file}: {self.title}"


class OutlineCase(NamedTuple):
    """A case as it is written; count: how many it makes; names: the first value of each row, where it is a text."""

    title: str
    count: int
    differs: str | None
    names: list[str]


class Outline(NamedTuple):
    """A file without its steps."""

    name: str
    about: str
    mode: str
    cases: list[OutlineCase]


def outline() -> list[Outline]:
    """All files with the titles of their cases, for the documentation."""
    found = []
    for path in sorted(CASES.glob("*/*.yaml")):
        data = _read(path)
        cases = [
            OutlineCase(c["title"], len(c.get("rows", [0])), c.get("differs"), _names(c.get("rows", ())))
            for c in data["cases"]
        ]
        name = str(path.relative_to(CASES).with_suffix(""))
        found.append(Outline(name, data["about"], data.get("mode", "dbless"), cases))
    return found


def _names(rows: Any) -> list[str]:
    firsts = [row[0] for row in rows]
    return [str(first) for first in firsts] if all(isinstance(f, str | int) for f in firsts) else []


def fill(text: str, variables: dict[str, Any]) -> Any:
    """A text with $NAME replaced; a text that is one name alone becomes the value itself."""
    whole = NAME_OF.fullmatch(text)
    if whole and whole[1] in variables:
        return variables[whole[1]]
    return NAME_OF.sub(lambda m: str(variables.get(m[1], m[0])), text)


def load() -> list[Case]:
    """All cases, sorted by file. Raises ValueError naming the file for a key that means nothing."""
    return [case for path in sorted(CASES.glob("*/*.yaml")) for case in _file(path)]


@cache
def _read(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _file(path: Path) -> list[Case]:
    name = str(path.relative_to(CASES).with_suffix(""))
    data = _read(path)
    _check(name, data, _FILE)
    mode = data.get("mode", "dbless")
    cases = []
    for case in [row for written in data["cases"] for row in _rows(written)]:
        steps = case.get("steps") or [{k: v for k, v in case.items() if k not in _CASE}]
        for step in steps:
            _check(f"{name}: {case.get('title')}", step, STEP | WANT)
        if case.get("steps"):
            _check(name, case, _CASE)
        config = case.get("config", data.get("config"))
        cases.append(Case(name, data["about"], mode, case["title"], case.get("differs"), config, steps))
    titles = [case.title for case in cases]
    twice = {title for title in titles if titles.count(title) > 1}
    if twice:
        raise ValueError(f"{name}: two cases named {twice}")
    return cases


def _rows(case: dict[str, Any]) -> list[dict[str, Any]]:
    rows = case.get("rows")
    plain = {key: value for key, value in case.items() if key != "rows"}
    if rows is None:
        return [plain]
    if "$" not in plain["title"]:
        plain["title"] += ": $0"
    return [_filled(plain, {str(i): value for i, value in enumerate(row)}) for row in rows]


def _filled(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {_filled(k, variables): _filled(v, variables) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, variables) for v in value]
    return fill(value, variables) if isinstance(value, str) else value


def _check(where: str, item: dict[str, Any], known: set[str]) -> None:
    unknown = set(item) - known
    if unknown:
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}")
