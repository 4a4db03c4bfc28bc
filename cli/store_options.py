"""What the commands that change the control state share: their options, and errors in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from cli import exit_codes
from kong_plugins.state.base import ControlStore, StoreError, StoreFull
from kong_plugins.state.redis import RedisStore

F = TypeVar("F", bound=Callable[..., Any])

_MAX_NOTE = 200


class WrongUsage(click.ClickException):
    """A value that cannot be right: one line, nothing was written."""

    exit_code = exit_codes.USAGE


class Failed(click.ClickException):
    """The work could not be done: one line, nothing was written."""

    exit_code = exit_codes.FAILED


def store_options(command: F) -> F:
    """Options --redis, --namespace and --output."""
    for option in (
        click.option(
            "--output",
            type=click.Choice(["human", "json"]),
            default="human",
            show_default=True,
            help="How the result is printed.",
        ),
        click.option(
            "--namespace",
            default="default",
            show_default=True,
            help="Control state to use, as in the plugin servers' config.",
        ),
        click.option(
            "--redis",
            "redis_url",
            envvar="REDIS_URL",
            default="redis://127.0.0.1:6379/0",
            show_default=True,
            show_envvar=True,
            help="Redis of the control state; rediss:// for TLS.",
        ),
    ):
        command = option(command)
    return command


actor_option = click.option(
    "--actor", envvar="USER", default="unknown", show_envvar=True, help="Who does this; kept with the record."
)


@contextmanager
def opened(url: str, namespace: str) -> Iterator[ControlStore]:
    """The store for one command. A wrong URL ends it with exit 2, a store that is away with exit 1."""
    try:
        store = RedisStore(url, namespace)
    except ValueError as error:
        raise WrongUsage(str(error)) from error
    try:
        yield store
    except StoreFull as error:
        raise Failed(str(error)) from error
    except StoreError as error:
        raise Failed(f"{error}; give the right Redis by --redis or REDIS_URL") from error
    finally:
        store.close()


def note(field: str, text: str) -> str:
    """A short printable text of an operator. Raises WrongUsage."""
    if len(text) > _MAX_NOTE or not text.isprintable():
        raise WrongUsage(f"--{field}: at most {_MAX_NOTE} printable characters")
    return text


def printable(text: str) -> str:
    """Text from the store for a terminal: without characters that could steer it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def utc(seconds: float) -> str:
    """Unix seconds as a time that people read."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
