"""kgate: the command line.

The commands are a literal list of modules; one is imported when it is used, so that `kgate block add` does
not pay for what `kgate render` needs. Each module has a click command named `command`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from cli import exit_codes
from cli.options import FILES_KEY, file_option

COMMANDS: dict[str, str] = {
    "lint": "cli.commands.lint:command",
    "validate": "cli.commands.validate:command",
    "render": "cli.commands.render:command",
    "diff": "cli.commands.diff:command",
    "sync": "cli.commands.sync:command",
    "rollback": "cli.commands.rollback:command",
    "drift": "cli.commands.drift:command",
    "status": "cli.commands.status:command",
    "dump": "cli.commands.dump:command",
    "failover": "cli.commands.failover:command",
    "schema": "cli.commands.schema:command",
    "block": "cli.commands.block:command",
    "allow": "cli.commands.allow:command",
    "canary": "cli.commands.canary:command",
    "fallback": "cli.commands.fallback:command",
    "breaker": "cli.commands.breaker:command",
    "limits": "cli.commands.limits:command",
    "list": "cli.commands.lists:command",
    "passport": "cli.commands.passport:command",
    "keys": "cli.commands.keys:command",
    "events": "cli.commands.events:command",
    "explain": "cli.commands.explain:command",
    "top": "cli.commands.top:command",
    "serve": "cli.commands.serve:command",
    "plugin-info": "cli.commands.plugin_info:command",
    "kong-env": "cli.commands.kong_env:command",
    "doctor": "cli.commands.doctor:command",
    "sandbox": "cli.commands.sandbox:command",
}
"""Command names in the order of the help text, and where each is."""

SUMMARIES: dict[str, str] = {
    "lint": "Check the files: syntax, schema, references, rules.",
    "validate": "Check that Kong would take the files, offline or by asking a node.",
    "render": "Print the Kong config that the files make.",
    "diff": "Show what sync would change on live nodes.",
    "sync": "Bring Kong nodes to what the files say.",
    "rollback": "Bring Kong nodes back to an earlier apply.",
    "drift": "Say whether live nodes hold something else.",
    "status": "Show the nodes of a cluster and the last apply.",
    "dump": "Write what a live Kong holds as tidy files.",
    "failover": "Move a tenant to its standby: check it, print the DNS change.",
    "schema": "Fetch the plugin schemas of a live node.",
    "block": "Block addresses, networks, users, tokens and user agents.",
    "allow": "Allow addresses, networks and users: no block touches them.",
    "canary": "Steer canaries over their configured plan.",
    "fallback": "Answer with the static fallback, without asking the service.",
    "breaker": "Hold circuit breakers open or closed.",
    "limits": "Forget what rate limits counted.",
    "list": "Keep named lists of users and addresses.",
    "passport": "Revoke tokens, and look into tokens and passports.",
    "keys": "Make, rotate and retire the keys that sign passports.",
    "events": "Read the audit log: who changed what.",
    "explain": "Say what the gateway would do with a request, and why.",
    "top": "Watch the gateway live.",
    "serve": "Run the plugin server.",
    "plugin-info": "Write what Kong must know of the gate plugins.",
    "kong-env": "Print the settings that a stock Kong needs.",
    "doctor": "Check a whole installation, and say what to do.",
    "sandbox": "Run a stand-in Kong for previews and tests.",
}


class Group(click.Group):
    """Loads commands on use; every expected error is one line `kgate: ...` and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # by the literal summaries: help must not import every command
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        return sys.exit(_guarded(run)) if standalone_mode else run()


def _guarded(run: Callable[[], Any]) -> int:
    """The exit code of a run; what went wrong is told in one line."""
    try:
        result = run()
    except click.UsageError as error:
        if error.format_message().startswith("Usage:"):  # a group without its command: the help itself
            click.echo(error.format_message(), err=True)
        else:
            _say(error.format_message() + _help_hint(error))
        return exit_codes.USAGE
    except click.ClickException as error:
        _say(error.format_message())
        return error.exit_code
    except click.Abort:
        _say("stopped")
        return exit_codes.FAILED
    except BrokenPipeError:
        # the reader of a pipe went away (`kgate render | head`): not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.FAILED
    except Exception as error:  # the process boundary: a bug is told in one line as well
        if os.environ.get("KGATE_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        _say(f"internal error: {what}; run again with KGATE_DEBUG=1 for details")
        return exit_codes.FAILED
    return result if type(result) is int else exit_codes.OK


def _say(message: str) -> None:
    click.echo(f"kgate: {' '.join(message.split())}", err=True)


def _help_hint(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else "kgate"
    return f" (see {path} --help)"


@click.command(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@file_option
@click.version_option(metadata.version("kgate"), prog_name="kgate")
@click.pass_context
def main(ctx: click.Context, files: tuple[Path, ...]) -> None:
    """Turn stock Kong into a complete API gateway.

    \b
    Examples:
      kgate lint                                  check gateway.yaml
      kgate -f gateway/ render --cluster critical print what the nodes of a cluster get
      kgate -f gateway.yaml sync --yes            bring the nodes to what the file says
      kgate block add 203.0.113.7 --ttl 1h        refuse an address at once

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 changes pending, 4 findings, 5 applied in part, 6 rolled back,
    7 lock held, 8 stale plan, 9 drift.
    """
    ctx.ensure_object(dict)[FILES_KEY] = files


if __name__ == "__main__":
    main(prog_name="kgate")
