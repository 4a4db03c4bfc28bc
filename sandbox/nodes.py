"""Several nodes in one process: each with its own ports, workers and configuration.

In DB mode they are one cluster on one database; without one each node has what was posted to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.app import Sandbox
from sandbox.database import Database

PORT_STEP = 100
"""Node 2 listens 100 ports above node 1, and so on; port 0 stays a free port."""
MAX_NODES = 8


def node_settings(settings: Mapping[str, str], number: int) -> dict[str, str]:
    """The settings of node `number` (from 0): the same but for the ports. Raises ValueError."""
    out = dict(settings)
    for name in ("KONG_PROXY_LISTEN", "KONG_ADMIN_LISTEN"):
        host, colon, port = out.get(name, "").partition(",")[0].strip().rpartition(":")
        if colon and port.isdigit() and int(port):
            moved = int(port) + number * PORT_STEP
            if moved > 65535:
                raise ValueError(f"{name}: no port {moved} for node {number + 1}")
            out[name] = f"{host}:{moved}"
    return out


class Nodes:
    """`count` nodes with the same settings. Raises ValueError."""

    def __init__(self, settings: Mapping[str, str], count: int) -> None:
        if not 1 <= count <= MAX_NODES:
            raise ValueError(f"nodes: not 1 to {MAX_NODES}: {count}")
        self.nodes = [Sandbox(node_settings(settings, number)) for number in range(count)]

    async def start(self, configs: Sequence[bytes] = ()) -> None:
        """Start all. configs: none, one for all, or one for each node in DB-less mode.

        Raises what Sandbox.start raises; nothing runs then.
        """
        database: Database | None = None
        started: list[Sandbox] = []
        try:
            for number, node in enumerate(self.nodes):
                config = configs[min(number, len(configs) - 1)] if configs else None
                if database is not None:
                    config = None  # the first node has put it into the database
                await node.start(database, config)
                database = node.database
                started.append(node)
        except BaseException:
            for node in started:
                await node.stop()
            raise
        if database is not None:
            for node in self.nodes:
                node.cluster = self.nodes

    async def stop(self) -> None:
        """Stop all."""
        for node in self.nodes:
            await node.stop()
