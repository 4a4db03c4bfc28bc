"""The audit log of the Redis store: a capped stream."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from kong_plugins.state.base import StoreError
from kong_plugins.state.connection import ANSWER_SECONDS
from kong_plugins.state.records import Event, compact
from kong_plugins.state.redis_part import RedisPart

_BLOCK_SECONDS = ANSWER_SECONDS / 2


class RedisEvents(RedisPart):
    """An `EventLog`."""

    def events(self, count: int, after_id: str | None = None) -> list[Event]:
        if count < 1:
            return []
        with self._errors():
            if after_id is None:
                found = self._client.xrevrange(self._events, count=count)[::-1]
            else:
                found = self._client.xrange(self._events, f"({after_id}", count=count)
        return [self._event(*entry) for entry in found]

    def append(self, event: Event) -> str:
        fields = dict(zip(("kind", "actor", "subject", "reason", "data"), event_texts(event), strict=True))
        with self._errors():
            return str(self._client.xadd(self._events, fields, maxlen=self._max_events, approximate=True))

    def wait(self, after_id: str | None, timeout: float) -> list[Event]:
        deadline = time.monotonic() + timeout
        if after_id is None:
            newest = self.events(1)
            after_id = newest[0].id if newest else "0-0"
        while True:
            left = min(deadline - time.monotonic(), _BLOCK_SECONDS)
            # BLOCK 0 would wait for ever
            with self._errors():
                answer = self._client.xread({self._events: after_id}, block=max(1, int(left * 1000)))
            if answer:
                return [self._event(*entry) for entry in answer[0][1]]
            if time.monotonic() >= deadline:
                return []

    def _event(self, event_id: str, fields: Mapping[str, str]) -> Event:
        try:
            moment = int(event_id.partition("-")[0]) / 1000
            texts = (fields["kind"], fields["actor"], fields["subject"], fields["reason"])
            return Event(event_id, moment, *texts, json.loads(fields["data"]))
        except (KeyError, ValueError) as error:
            raise StoreError(f"{self.address}: event {event_id} cannot be read: {error}") from error


def event_texts(event: Event) -> list[str]:
    return [event.kind, event.actor, event.subject, event.reason, compact(dict(event.data))]
