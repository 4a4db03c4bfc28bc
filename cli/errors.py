"""Errors that end a command: one line to stderr and an exit code (cli.main prints them)."""

from __future__ import annotations

import click

from cli import exit_codes


class UsageError(click.ClickException):
    """The command cannot mean anything as it was given; the message says how to say it."""

    exit_code = exit_codes.USAGE


class FailedError(click.ClickException):
    """The work could not be done; the message says what to do next."""

    exit_code = exit_codes.FAILED


class FindingsError(click.ClickException):
    """What was asked for is well written and must not be done: a rule forbids it, or a name is not known."""

    exit_code = exit_codes.FINDINGS
