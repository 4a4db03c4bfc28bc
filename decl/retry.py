"""Writes that are sent again when that may help: a busy node, a broken connection, a 5xx."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from decl.admin import AdminClient, AdminError, BusyError, GoneError, RejectedError
from decl.apply_db import stopped
from decl.busy import BUDGET, Waiting
from decl.writes import Write

_AGAIN = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long (seconds): tries of one write, the first pause between them, and how long a busy
    node is waited for in all."""

    tries: int = 4
    pause: float = 0.2
    busy: float = BUDGET


class Sender:
    """Sends writes to one node. notice gets a line before a busy node is waited for; check is asked meanwhile, and
    raises StoppedError when nothing may be written. now and sleep are seconds, for tests; several threads may
    use it."""

    def __init__(
        self,
        client: AdminClient,
        patience: Patience = Patience(),
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        notice: Callable[[str], None] = lambda line: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._patience, self._now, self._sleep = client, patience, now, sleep
        self._notice, self._check = notice, check

    def send(self, write: Write) -> None:
        """Raises AdminError when it could not be done; `uncertain` when it may have been done all the same."""
        tries, pause, maybe = 0, self._patience.pause, False
        waiting = Waiting(
            self._patience.busy,
            self._now,
            self._sleep,
            self._notice,
            lost=lambda: stopped(self._check),
        )
        while True:
            try:
                self._client.write(write.method, write.path, write.body)
                return
            except BusyError as busy:
                late = waiting.wait(busy.node, busy.retry_after)
                if late is not None:
                    raise AdminError(busy.node, late, 429, uncertain=maybe) from busy
                continue
            except GoneError:
                if write.method == "DELETE":
                    return
                raise
            except RejectedError:
                if write.method == "POST" and (maybe or write.may_be_there) and self._is_there(write):
                    return  # the try before had made it, or it was never deleted
                raise
            except AdminError as error:
                maybe = maybe or error.uncertain
                tries += 1
                if tries >= self._patience.tries or not (error.away or error.status in _AGAIN):
                    raise AdminError(error.node, error.reason, error.status, maybe, error.away) from error
                if error.retry_after is not None:
                    late = waiting.wait(error.node, error.retry_after)
                    if late is not None:
                        reason = f"{error.reason}; it {late}"
                        raise AdminError(error.node, reason, error.status, maybe) from error
                    continue
            self._sleep(pause * (0.5 + random.random()))  # noqa: S311 # only to spread the tries
            pause *= 2

    def _is_there(self, write: Write) -> bool:
        try:
            self._client.get(write.entity)
        except AdminError:
            return False
        return True
