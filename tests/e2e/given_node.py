"""A given Kong with a database, in the place of the sandbox's (tests.decl.db_node). Its database is emptied."""

from __future__ import annotations

import contextlib
import time

from decl.admin import AdminClient, GoneError
from decl.apply_db import apply
from decl.change import LOCK_NAME
from decl.diff import diff
from decl.kinds import KINDS
from decl.live import read_live, schemas_of
from decl.retry import Sender
from tests.e2e.gateway import DB_PROPAGATION_SECONDS


class GivenNode:
    """`clear`, `settle` and `forget_lock` as a DbNode has them."""

    def __init__(self, admin: str, proxy: str) -> None:
        self.admin, self.proxy = admin, proxy
        with AdminClient(admin) as client:
            self.workers = len(client.get("/")["pids"]["workers"])

    def clear(self) -> None:
        """Nothing is in the database, and nothing in force."""
        self.forget_lock()
        with AdminClient(self.admin, timeout=60) as client:
            schemas = schemas_of(client)
            found = diff({kind: {} for kind in KINDS}, read_live(client), schemas)
            assert apply(found.changes, Sender(client), schemas).outcome in ("changed", "unchanged")
        if found.changes:
            time.sleep(DB_PROPAGATION_SECONDS)

    def settle(self) -> None:
        """Return when all workers have what is in the database; nobody can ask each of them."""
        if self.workers > 1:
            time.sleep(DB_PROPAGATION_SECONDS)

    def forget_lock(self) -> None:
        """As if the lease of a run that was killed had ended."""
        with AdminClient(self.admin) as client, contextlib.suppress(GoneError):
            client.send("DELETE", f"/upstreams/{LOCK_NAME}")
