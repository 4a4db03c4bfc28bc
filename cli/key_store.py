"""Where `kgate keys` keeps a keyring: the control state in Redis, or a private folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from cli.errors import FailedError, FindingsError, UsageError
from cli.operate import StoreAt, opened
from kong_plugins.identity.key_files import KeyFiles
from kong_plugins.identity.key_operations import KeysRefused, over
from kong_plugins.identity.key_records import KeyRecord, record_data, record_of
from kong_plugins.identity.sealing import Sealer, read_secret
from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.records import Delete, Event, Put, Record

SECRET_ENV = "KGATE_KEYRING_SECRET"  # noqa: S105 - the name of a variable


class KeyPlace(Protocol):
    """A keyring. change: `make` gets the records and the time, and returns the one that is to be written."""

    def now(self) -> float: ...

    def load(self) -> list[KeyRecord]: ...

    def change(
        self, verb: str, actor: str, reason: str, make: Callable[[list[KeyRecord], float], KeyRecord]
    ) -> KeyRecord: ...


class InRedis:
    """The collection `keys`; every change is in the audit log, without the key."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> float:
        return self._store.now()

    def load(self) -> list[KeyRecord]:
        try:
            return [record_of(each.key, each.data, each.version) for each in self._store.records("keys")]
        except ValueError as error:
            raise StoreError(f"{self._store.address}: {error}") from error

    def change(
        self, verb: str, actor: str, reason: str, make: Callable[[list[KeyRecord], float], KeyRecord]
    ) -> KeyRecord:
        now, records = self.now(), self.load()
        made = make(records, now)
        record = Record("keys", made.kid, record_data(made), actor=actor, reason=reason, source="cli")
        shown = {"alg": made.alg, "sign_from": made.sign_from, "revoked": made.revoked}
        event = Event("", 0.0, f"keys.{verb}", actor, made.kid, reason, shown)
        gone = [Delete("keys", each.kid, each.version) for each in _others(over(records, now), made)]
        self._store.commit([Put(record, made.version), *gone], event)
        return made


class InFolder:
    """KID.key.json files, see key_files.py. There is no audit log."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._files, self._clock = KeyFiles(folder), clock

    def now(self) -> float:
        return self._clock()

    def load(self) -> list[KeyRecord]:
        try:
            return self._files.load()
        except ValueError as error:
            raise FailedError(str(error)) from error

    def change(
        self, verb: str, actor: str, reason: str, make: Callable[[list[KeyRecord], float], KeyRecord]
    ) -> KeyRecord:
        try:
            with self._files.locked():
                made = make(self.load(), self.now())
                self._files.save(made)
        except OSError as error:
            raise FailedError(f"{self._files.folder}: {error.strerror}") from error
        return made


def _others(records: Sequence[KeyRecord], made: KeyRecord) -> list[KeyRecord]:
    return [each for each in records if each.kid != made.kid]


@contextmanager
def key_place(at: StoreAt, folder: Path | None, clock: Callable[[], float]) -> Iterator[KeyPlace]:
    """The keyring of one command. What must not be done ends it with exit 4."""
    try:
        if folder is not None:
            yield InFolder(folder, clock)
            return
        with opened(at) as store:
            yield InRedis(store)
    except KeysRefused as error:
        raise FindingsError(str(error)) from error


def sealer_of(secret_file: str | None, folder: Path | None) -> Sealer | None:
    """The sealing key of --secret-file or the environment. Raises UsageError; in Redis one is needed."""
    env = SECRET_ENV if secret_file is None and os.environ.get(SECRET_ENV) else None
    try:
        secret = read_secret(secret_file, env, Path(), os.environ)
        if secret is None and folder is None:
            raise UsageError(
                f"keys in Redis are sealed: give --secret-file, or {SECRET_ENV}, with 32 characters or more "
                "(`openssl rand -base64 48 > keyring.secret; chmod 600 keyring.secret`)"
            )
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('secret_file', 'secret-file', 1)}") from error
    try:
        return None if secret is None else Sealer(secret)
    except ValueError as error:
        raise UsageError(f"{env or f'--secret-file {secret_file}'}: {error}") from error
