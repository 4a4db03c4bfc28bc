"""Limits that live in Redis: what nodes tell of theirs, and the counters of strict ones."""

from __future__ import annotations

from hashlib import blake2b

from kong_plugins.state.limit_board import board_key, limited
from kong_plugins.state.limits import ALL, Limited
from kong_plugins.state.redis_part import PAGE, RedisPart


def strict_key(prefix: str, key: str) -> str:
    """Where a strict limit counts: a client's text is hashed, of one length, and nothing of it is in Redis."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return f"{prefix}limit:{digest}"


class RedisLimits(RedisPart):
    """A `LimitBoard`."""

    def limited(self) -> list[Limited]:
        with self._errors():
            told = self._client.hgetall(board_key(self._prefix))
        return limited(told, self.now()) if told else []

    def forget_limit(self, key: str) -> None:
        with self._errors():
            if key != ALL:
                self._client.unlink(strict_key(self._prefix, key))
                return
            cursor = -1
            while cursor:
                cursor, keys = self._client.scan(
                    max(cursor, 0), match=self._prefix.replace("{", "\\{") + "limit:*", count=PAGE
                )
                if keys:
                    self._client.unlink(*keys)
