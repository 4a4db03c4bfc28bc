"""kgate top: what the gateway does now."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from cli.errors import UsageError
from cli.operate import StoreAt, opened, store_options
from cli.report import state as report


@click.command(name="top")
@click.option(
    "--metrics",
    "urls",
    multiple=True,
    envvar="KGATE_METRICS",
    help="A plugin server's metrics, URL or HOST:PORT; may be repeated.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 60),
    default=1.0,
    show_default=True,
    help="Seconds between two looks, over which rates are taken.",
)
@click.option("--once", is_flag=True, help="One snapshot, in a terminal too.")
@store_options
def command(urls: tuple[str, ...], interval: float, once: bool, at: StoreAt, output: str) -> None:
    """Watch request rate, verdicts, blocks, breakers and canary arms; one snapshot when not in a terminal.

    Rates come from the plugin servers' metrics (kgate serve --metrics-listen), all else from the control state
    in Redis. Ctrl-C ends it.

    \b
    Examples:
      kgate top --metrics http://127.0.0.1:9542 --interval 0.2
      kgate top --metrics 127.0.0.1:9542 --metrics 127.0.0.1:9543 --interval 0.1 --once
      kgate top --output json
    """
    from cli import node_metrics, top

    try:
        servers = [node_metrics.metrics_url(url) for url in urls]
    except ValueError as error:
        raise UsageError(f"--metrics: {error}") from error
    with opened(at) as store:
        watch = top.Watch(store, servers, time.monotonic)
        if once or output == "json" or not sys.stdout.isatty():
            seen = watch.look()
            if servers:
                time.sleep(interval)
                seen = watch.look()
            click.echo(report.dump(seen) if output == "json" else "\n".join(top.lines(seen)))
            return
        _live(watch, interval, at)


def _live(watch: Any, interval: float, at: StoreAt) -> None:
    from rich.console import Console

    from cli import top_view

    try:
        top_view.live(watch, Console(), interval, at.namespace)
    except KeyboardInterrupt:
        return
