"""The live view of `kgate top` in a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli import top
from kong_plugins.state.base import StoreError


def frame(seen: dict[str, Any], namespace: str, trouble: str = "") -> RenderableType:
    """One picture. Text is given as Text: what stands in the state is no markup."""
    parts: list[RenderableType] = [Text(f"kgate top, control state {namespace}; Ctrl-C ends", style="bold")]
    if trouble:
        parts.append(Text(trouble, style="bold red"))
    parts += [Text(line) for line in top.summary(seen)]
    for title, rows in top.tables(seen):
        table = Table(title=Text(title, style="bold"), title_justify="left", show_header=False, box=None)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        parts.append(table)
    return Group(*parts)


def live(
    watch: top.Watch,
    console: Console,
    interval: float,
    namespace: str,
    sleep: Callable[[float], None] = time.sleep,
    frames: int | None = None,
) -> None:
    """Draw again every `interval` seconds until Ctrl-C (or `frames`). A store that goes away later is said in the
    picture, and the last one stays. Raises StoreError at the first look."""
    seen = watch.look()
    left = frames
    with Live(
        frame(seen, namespace), console=console, auto_refresh=False, screen=console.is_terminal
    ) as view:
        while left is None or left > 1:
            sleep(interval)
            left = None if left is None else left - 1
            try:
                seen = watch.look()
                view.update(frame(seen, namespace), refresh=True)
            except StoreError as error:
                view.update(frame(seen, namespace, f"{error}: the figures are old"), refresh=True)
