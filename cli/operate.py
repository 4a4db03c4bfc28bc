"""What the operators' commands share: where the control state is, who does it and why, and errors in one line."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import click

from cli.errors import FailedError, FindingsError, UsageError
from kong_plugins.state.base import Conflict, RowsGone, Store, StoreError, StoreFull
from kong_plugins.state.open import open_store
from kong_plugins.state.operations.common import LONGEST_TTL, NotFound, Refused, check_notes

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
REACH_SECONDS = 0.7
"""For the first answer of the store, from its name on: with the interpreter's start some 1.2 s."""
_TTL = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_HOW = "write a number and s, m, h or d like 90s, 15m, 2h, 7d, or a moment like 2030-01-31T18:00Z"


class StoreAt(NamedTuple):
    """Which control state: url of its Redis, namespace in it, and the PEM file of who signs its certificate."""

    url: str
    namespace: str
    ca_file: str | None = None


class Ttl(NamedTuple):
    """How long something lasts: `seconds` from now, or until `moment` (Unix seconds)."""

    text: str
    seconds: float | None = None
    moment: float | None = None


class Notes(NamedTuple):
    """What is kept with a change: who, why, and for how long."""

    actor: str
    reason: str = ""
    ttl: Ttl | None = None

    def lasting(self, store: Store) -> dict[str, Any]:
        """actor, reason and ttl as the operations take them. Raises UsageError for a time that is over."""
        return {**self.said(), "ttl": seconds_of(self.ttl, store)}

    def said(self) -> dict[str, Any]:
        """actor and reason alone."""
        return {"actor": self.actor, "reason": self.reason}


def seconds_of(ttl: Ttl | None, store: Store) -> float | None:
    """The seconds that are left by the store's clock. Raises UsageError when there are none."""
    if ttl is None or ttl.moment is None:
        return None if ttl is None else ttl.seconds
    left = ttl.moment - store.now()
    if not 0 < left <= LONGEST_TTL:
        raise UsageError(
            f"--ttl {ttl.text!r}: " + ("is over" if left <= 0 else "is too far away, 3650d at most")
        )
    return left


class _TtlType(click.ParamType):  # type: ignore[type-arg] # generic since click 8.2 alone
    name = "ttl"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ttl:
        return value if isinstance(value, Ttl) else parse_ttl(value)


def parse_ttl(text: str) -> Ttl:
    """The TTL of 90s, 15m, 2h, 7d, or of a moment in ISO 8601. Raises UsageError, for 0 and what is over too."""
    found = _TTL.fullmatch(text)
    if found:
        seconds = int(found[1]) * _UNITS[found[2]]
        if not 0 < seconds <= LONGEST_TTL:
            raise UsageError(f"--ttl {text!r}: is not more than 0 and at most 3650d")
        return Ttl(text, seconds=seconds)
    moment = parse_moment(text)
    if moment is None:
        raise UsageError(f"--ttl {text!r}: {_HOW}")
    return Ttl(text, moment=moment)


def parse_moment(text: str) -> float | None:
    """Unix seconds of an ISO 8601 moment with a date (UTC where it names no zone), None when it is none."""
    if not text.isascii() or "-" not in text.lstrip("-"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


output_option = click.option(
    "--output",
    type=click.Choice(["human", "json"]),
    default="human",
    show_default=True,
    help="How the result is printed.",
)

_STORE_OPTIONS = (
    output_option,
    click.option(
        "--namespace",
        envvar="KGATE_NAMESPACE",
        default="default",
        show_default=True,
        help="Control state to use, as in the plugin servers' config.",
    ),
    click.option(
        "--redis-ca",
        envvar="REDIS_CA",
        type=click.Path(dir_okay=False),
        help="PEM of who may sign the certificate of a rediss:// Redis.",
    ),
    click.option(
        "--redis",
        envvar="REDIS_URL",
        default="redis://127.0.0.1:6379/0",
        show_default=True,
        show_envvar=True,
        help="Redis of the control state; rediss:// for TLS.",
    ),
)


def store_options(command: F) -> F:
    """Options --redis, --redis-ca, --namespace and --output; the command gets `at` and `output`."""

    @wraps(command)
    def with_store(*args: Any, redis: str, redis_ca: str | None, namespace: str, **others: Any) -> Any:
        return command(*args, at=StoreAt(redis, namespace, redis_ca), **others)

    return _with(with_store, _STORE_OPTIONS, command)


_REASON = click.option("--reason", default="", help="Why; for other operators, clients never see it.")
_ACTOR = click.option(
    "--actor", envvar="USER", default="unknown", show_envvar=True, help="Who does this; kept with the record."
)
_TTL_OPTION = click.option(
    "--ttl", type=_TtlType(), help="How long: 90s, 15m, 2h, 7d, or until a moment (ISO 8601)."
)


def change_options(command: F) -> F:
    """Options --reason, --ttl and --actor; the command gets `notes`."""

    @wraps(command)
    def with_notes(*args: Any, reason: str, ttl: Ttl | None, actor: str, **others: Any) -> Any:
        return command(*args, notes=_notes(actor, reason, ttl), **others)

    return _with(with_notes, (_ACTOR, _TTL_OPTION, _REASON), command)


def end_options(command: F) -> F:
    """Options --reason and --actor, for what ends something; the command gets `notes`."""

    @wraps(command)
    def with_notes(*args: Any, reason: str, actor: str, **others: Any) -> Any:
        return command(*args, notes=_notes(actor, reason, None), **others)

    return _with(with_notes, (_ACTOR, _REASON), command)


def _with(command: Any, options: tuple[Callable[[Any], Any], ...], like: F) -> F:
    for option in options:
        command = option(command)
    made: F = command
    return made


def _notes(actor: str, reason: str, ttl: Ttl | None) -> Notes:
    try:
        check_notes(actor, reason)
        if not actor.strip():
            raise ValueError("actor: say who does this")
    except ValueError as error:
        raise UsageError(f"--{error}") from error
    return Notes(actor, reason, ttl)


def _reach(store: Store) -> None:
    """Ask for one answer, in time: no timeout of a connection counts for the system's resolver, and those of
    connecting, of TLS and of an answer add up. Raises StoreError when it is away, ValueError for a wrong name."""
    failed: list[Exception] = []

    def ask() -> None:
        try:
            store.now()
        except (StoreError, ValueError) as error:  # ValueError: a host that is no name
            failed.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(REACH_SECONDS)
    if asking.is_alive():
        raise StoreError(f"{store.address}: no answer within {REACH_SECONDS:g} s")
    if failed:
        raise failed[0]


def _next(error: str) -> str:
    """What to do about a store's error."""
    if "maxmemory" in error:
        return "its memory is full: make room there"
    if "read only replica" in error:
        return "give the Redis that it copies by --redis or REDIS_URL"
    return "give the right Redis by --redis or REDIS_URL"


@contextmanager
def opened(at: StoreAt) -> Iterator[Store]:
    """The store for one command. Bad input and a wrong URL end it with exit 2, what a rule forbids with 4, what is
    not there and a store that is away with 1."""
    if at.url.startswith("memory:"):
        raise UsageError("--redis: memory:// is one process's own state, nobody would see a change")
    try:
        store = open_store(at.url, at.namespace, at.ca_file)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        _reach(store)
        yield store
    except ValueError as error:
        raise UsageError(str(error)) from error
    except Refused as error:
        raise FindingsError(str(error)) from error
    except (NotFound, StoreFull) as error:
        raise FailedError(str(error)) from error
    except (Conflict, RowsGone) as error:
        raise FailedError(f"{error}; somebody else was faster: try again") from error
    except StoreError as error:
        raise FailedError(f"{error}; {_next(str(error))}") from error
    finally:
        store.close()
