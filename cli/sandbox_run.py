"""The run of `kgate sandbox`: start, tell where, watch the files, stop at a signal.

Everything is in this one process: when it ends, by kill -9 too, nothing of it is left.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from cli import sandbox_config, sandbox_log
from cli.errors import FailedError, UsageError
from cli.report.lines import emit
from sandbox.app import PortTaken
from sandbox.lua_runtime import PluginLoadError
from sandbox.nodes import Nodes
from sandbox.validate import InvalidConfig

log = logging.getLogger("sandbox")

_POLL_SECONDS = 0.25
_TICK_SECONDS, _STALL_SECONDS = 0.05, 0.1
_OPTIONS = {"KONG_PROXY_LISTEN": "--proxy-listen", "KONG_ADMIN_LISTEN": "--admin-listen"}


class Run(NamedTuple):
    """What to run. env: KONG_* settings; files: none, one for all nodes, or one for each."""

    env: Mapping[str, str]
    nodes: int
    files: tuple[Path, ...]
    cluster: str | None
    socket: Path
    watch: bool
    show: bool
    output: str
    notice: str


async def run(r: Run) -> None:
    """Run until SIGTERM or SIGINT. Raises FailedError, UsageError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    nodes = await _start(r)
    try:
        _tell(r, nodes)
        if r.show:
            for number, node in enumerate(nodes.nodes, 1):
                node.watch(_printer(r, number if r.nodes > 1 else 0))
        tasks = [asyncio.create_task(_notice_stalls())]
        if r.watch:
            tasks.append(asyncio.create_task(_watch(r, nodes)))
        await stop.wait()
        for task in tasks:
            task.cancel()
    finally:
        await nodes.stop()


async def _start(r: Run) -> Nodes:
    try:
        loaded = [_load(r, path) for path in r.files]
        for note in (note for each in loaded for note in each.notes):
            click.echo(note, err=True)
        nodes = Nodes(r.env, r.nodes)
        await nodes.start([each.content for each in loaded])
        return nodes
    except sandbox_config.BadConfig as e:
        for line in e.lines:
            click.echo(line, err=True)
        raise FailedError(f"{_names(r)}: not started: put right what is said above") from e
    except InvalidConfig as e:
        raise FailedError(f"{_names(r)}: {e}") from e
    except PluginLoadError as e:
        raise FailedError(str(e)) from e
    except PortTaken as e:
        raise FailedError(_port_message(e)) from e
    except OSError as e:
        raise FailedError(f"{e.filename}: {e.strerror}" if e.filename else str(e)) from e
    except ValueError as e:
        raise FailedError(f"{_names(r)}: {e}" if r.files and "KONG_" not in str(e) else str(e)) from e


def _load(r: Run, path: Path) -> sandbox_config.Loaded:
    return sandbox_config.load(path, r.cluster, r.socket, os.environ)


def _names(r: Run) -> str:
    return ", ".join(map(str, r.files))


def _port_message(e: PortTaken) -> str:
    host, port = e.address
    option = _OPTIONS[e.variable]
    if e.in_use:
        return (
            f"port {port} of {host} is taken by another process: stop it, or choose another with "
            f"{option} {host}:PORT (port 0 takes a free one)"
        )
    return f"cannot listen on {host}:{port} ({option}): {e.strerror}"


def _tell(r: Run, nodes: Nodes) -> None:
    places = [{"proxy": node.proxy_url, "admin": node.admin_url} for node in nodes.nodes]
    if r.output == "json":
        line: dict[str, Any] = {**places[0], "pid": os.getpid(), "notice": r.notice}
        click.echo(json.dumps({**line, "nodes": places} if r.nodes > 1 else line))
        return
    click.echo(r.notice)
    for number, place in enumerate(places, 1):
        name = f"node {number}: " if r.nodes > 1 else ""
        click.echo(f"{name}proxy {place['proxy']}  admin {place['admin']}  pid {os.getpid()}")


def _printer(r: Run, number: int) -> Any:
    def show(record: Mapping[str, Any]) -> None:
        line = sandbox_log.line(record, number)
        emit(r.output, line.as_json(), line.as_text())

    return show


async def _notice_stalls() -> None:
    """Say when the machine did not let this process run: plugins have timeouts of 0.3 s."""
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(_TICK_SECONDS)
        late = loop.time() - before - _TICK_SECONDS
        if late > _STALL_SECONDS:
            log.warning(
                "the sandbox stood still for %.0f ms: what timed out meanwhile did so for that", late * 1000
            )


# -- watching ----------------------------------------------------------------------------------------------


async def _watch(r: Run, nodes: Nodes) -> None:
    seen = [_marks(path) for path in r.files]
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        for i, path in enumerate(r.files):
            marks = _marks(path)
            if marks != seen[i]:
                seen[i] = marks
                await _reload(r, nodes, i, path)


def _marks(path: Path) -> dict[str, tuple[int, int, int]]:
    """What tells a changed file: times, size, and the file itself (editors put a new one in its place)."""
    marks = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        try:
            found = file.stat()
        except OSError:
            continue  # between the removal of the old and the new one
        marks[str(file)] = (found.st_mtime_ns, found.st_size, found.st_ino)
    return marks


async def _reload(r: Run, nodes: Nodes, number: int, path: Path) -> None:
    errors: tuple[str, ...] = ()
    try:
        loaded = await asyncio.to_thread(_load, r, path)
        chosen = nodes.nodes if len(r.files) == 1 else nodes.nodes[number : number + 1]
        for node in chosen:
            node.reload(loaded.content)
    except sandbox_config.BadConfig as e:
        errors = e.lines
    except (UsageError, OSError, InvalidConfig, ValueError) as e:
        errors = (f"{path}: {e}",)
    if errors:
        data = {"event": "reload", "file": str(path), "ok": False, "errors": list(errors)}
        emit(r.output, data, *errors, f"{path}: not taken, the old configuration stays")
        return
    data = {"event": "reload", "file": str(path), "ok": True, "hash": loaded.hash}
    emit(r.output, data, *loaded.notes, f"{path}: taken, hash {loaded.hash}")
