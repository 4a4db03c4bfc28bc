"""A client that hears no answers, as after its timeout: for faults at many operations, without waiting for each."""

from __future__ import annotations

import threading
from collections.abc import Callable

from decl.admin import AdminClient, AdminError
from decl.http import Answer


class Deaf(AdminClient):
    """`fault(number, method, path)` names the writes (numbers from 1) whose answers are not heard. done: whether the
    node gets them. `deaf` counts them."""

    def __init__(self, node: str, fault: Callable[[int, str, str], str | None], done: bool) -> None:
        super().__init__(node, timeout=20.0)
        self._fault, self._reached, self._writes = fault, done, 0
        self.deaf = 0
        self._count = threading.Lock()

    def request(
        self, method: str, path: str, content: bytes | None = None, kind: str | None = None
    ) -> Answer:
        """As of AdminClient."""
        if method == "GET":
            return super().request(method, path, content, kind)
        with self._count:
            self._writes += 1
            deaf = self._fault(self._writes, method, path) is not None
            self.deaf += deaf
        if not deaf:
            return super().request(method, path, content, kind)
        if self._reached:
            super().request(method, path, content, kind)
        # what AdminClient makes of a timeout (decl/http.py)
        raise AdminError(self.node, "gave no answer within 10 s", uncertain=True, away=True)
