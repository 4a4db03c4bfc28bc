"""Reading what is imported: plain text or CSV, from any source of lines.

Plain: one target a line, or several addresses (as `fail2ban-client get JAIL banip` prints them); empty lines and what
follows a # or ; at the start or after a space are skipped. CSV: a header
line with a column `target` (or ip, cidr, address, user), and if wanted `reason`, `ttl` (seconds, or 10m, 2h, 7d) and
`expires` (Unix seconds or ISO 8601); other columns are ignored. What `kgate block export` writes is such a CSV.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple

from kong_plugins.state.operations.common import LONGEST_TTL

MAX_PROBLEMS = 20
"""Problems that are told; the rest is counted."""
_TARGET_COLUMNS = ("target", "ip", "cidr", "address", "user")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_TTL = re.compile(r"([0-9]{1,10})([smhd]?)")
_MAX_REASON = 200
_LAST_MOMENT = 253_402_300_799
"""The end of the year 9999: feeds write it for "never", and no later time can be shown."""
_NOTE = re.compile(r"(?:^|\s)\s*[#;]")
_CELLS = re.compile(r"[0-9A-Fa-f.:/]+\s*,")
_ADDRESSES = re.compile(r"[0-9A-Fa-f.:/]+(?:\s+[0-9A-Fa-f.:/]+)+")


class Row(NamedTuple):
    """line counts from 1. reason and expires (Unix seconds): None for the import's own."""

    line: int
    text: str
    reason: str | None = None
    expires: float | None = None


class Problem(NamedTuple):
    """One line that cannot be taken."""

    line: int
    message: str


class BadRows(ValueError):
    """The input cannot be imported; nothing was written. problems: the first ones, count: how many there are."""

    def __init__(self, problems: list[Problem], count: int) -> None:
        more = f" (and {count - 1} more)" if count > 1 else ""
        super().__init__(f"line {problems[0].line}: {problems[0].message}{more}")
        self.problems = problems
        self.count = count


class Problems:
    """Collects problems; the first are kept."""

    def __init__(self) -> None:
        self._kept: list[Problem] = []
        self._count = 0

    def add(self, line: int, message: str) -> None:
        self._count += 1
        if len(self._kept) < MAX_PROBLEMS:
            self._kept.append(Problem(line, message))

    def check(self) -> None:
        """Raises BadRows when there was one."""
        if self._count:
            raise BadRows(self._kept, self._count)


def read_rows(lines: Iterable[str], now: float, problems: Problems) -> Iterator[Row]:
    """The rows of plain text or CSV, whichever the first line is. now: Unix seconds, for `ttl`."""
    left, columns = iter(lines), [""]
    before: list[str] = []
    for line in left:
        before.append(line.removeprefix("\ufeff") if not before else line)
        if _NOTE.split(before[-1], 1)[0].strip():
            with suppress(csv.Error):
                columns = [name.strip().lower() for name in next(csv.reader(before[-1:]), [])]
            break
    target = next((name for name in _TARGET_COLUMNS if name in columns), None)
    if target is None:
        yield from _plain(chain(before, left), now, problems)
        return
    # strict, and with the ends of lines: a quote that nobody closes must not swallow the rows after it
    reader = csv.reader((line.rstrip("\r\n") + "\n" for line in left), strict=True)
    find: Callable[[list[str], str], str] = lambda cells, name: (  # noqa: E731 - a short look-up, used here alone
        cells[columns.index(name)].strip() if name in columns and columns.index(name) < len(cells) else ""
    )
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # what comes after it cannot be trusted to be a row
            problems.add(reader.line_num + len(before), str(error))
            return
        number = reader.line_num + len(before)
        text = find(cells, target)
        if not text or (text[0] in "#;" and columns[0] == target):
            note = text or (len(cells) == 1 and cells[0].lstrip()[:1] in ("#", ";"))
            if any(cells) and not note:
                problems.add(number, f"nothing in column {target}")
            continue
        try:
            reason, ttl, expires = (find(cells, name) for name in ("reason", "ttl", "expires"))
            yield Row(number, text, _reason(reason), _end(ttl, expires, now))
        except ValueError as error:
            problems.add(number, str(error))


def _reason(text: str) -> str | None:
    if len(text) > _MAX_REASON or not text.isprintable():
        raise ValueError(f"reason: at most {_MAX_REASON} printable characters")
    return text or None


def _plain(lines: Iterable[str], now: float, problems: Problems) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        text = _NOTE.split(line, 1)[0].strip()
        if _CELLS.match(text):
            try:
                cells = [cell.strip() for cell in next(csv.reader([text], strict=True))]
                reason, end, *more = (*cells[1:], "", "")
                if any(more):
                    raise ValueError("more than ADDRESS,REASON,END: begin with a line that names the columns")
                is_ttl = bool(_TTL.fullmatch(end)) and end[-1] in _UNITS
                yield Row(number, cells[0], _reason(reason), _end(*((end, "") if is_ttl else ("", end)), now))
            except (ValueError, csv.Error) as error:
                problems.add(number, str(error))
        elif _ADDRESSES.fullmatch(text):
            yield from (Row(number, each) for each in text.split())
        elif text:
            yield Row(number, text)


def _end(ttl: str, expires: str, now: float) -> float | None:
    """Raises ValueError for what is no time, or a time that is over."""
    if ttl and expires:
        raise ValueError("ttl and expires: give one of them")
    if ttl:
        found = _TTL.fullmatch(ttl)
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
        if not 0 < seconds <= LONGEST_TTL:
            raise ValueError(
                f"ttl: {ttl!r} is not seconds, or a number and s, m, h or d, above 0, 3650d at most"
            )
        return now + seconds
    if not expires:
        return None
    try:
        end = float(expires)
    except ValueError:
        try:
            moment = datetime.fromisoformat(expires)
        except ValueError:
            raise ValueError(f"expires: {expires!r} is neither Unix seconds nor ISO 8601") from None
        end = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not end > now or math.isinf(end):
        raise ValueError(f"expires: {expires} is over")
    if end > _LAST_MOMENT:
        raise ValueError(f"expires: {expires} is after the year 9999: Unix seconds, not milliseconds")
    return end
