"""One node's Admin API: the config of a DB-less node, the entities of one with a database.

Answers that were recorded from Kong 3.9: 201 stored, 304 the same, 400 with `flattened_errors`, 413 as JSON
(LMDB full) or HTML (over 10 MB), 429 with Retry-After while another config is being loaded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from decl.busy import BUDGET, Waiting, retry_after
from decl.flattened import EntityError, entity_errors
from decl.http import Answer, Pool, Tls, TransportError

PAGE = 1000
"""Entities a page: the most that Kong gives."""

_CONFIG = "/config?check_hash=1&flatten_errors=1"
_MAX_TEXT = 300
_PAUSES = (0.2, 0.4)  # before a read is made again: the node, or what is before it, was away for a moment


class AdminError(Exception):
    """A node's Admin API did not do what was asked.

    status is the HTTP status, None when there was no answer. `uncertain` says that the config may have been
    stored all the same: the node must be read before anything is concluded. `away`: no answer came at all;
    `reset`: because the node closed the connection.
    `retry_after`: seconds after which the node asks to be tried again, None when it does not say.
    """

    def __init__(
        self,
        node: str,
        reason: str,
        status: int | None = None,
        uncertain: bool = False,
        away: bool = False,
        retry_after: float | None = None,
        reset: bool = False,
    ) -> None:
        super().__init__(f"{node}: {reason}")
        self.away, self.reset = away, reset
        self.retry_after = retry_after
        self.node = node
        self.reason = reason
        self.status = status
        self.uncertain = uncertain


class BusyError(AdminError):
    """The node is loading another config, or what is before it lets no more through: nothing was done."""

    def __init__(self, node: str, retry_after: float | None) -> None:
        super().__init__(node, "is busy (HTTP 429)", 429, retry_after=retry_after)


class GoneError(AdminError):
    """What is asked for is not there."""


class RejectedError(AdminError):
    """Kong refused the config and keeps the old one."""

    def __init__(self, node: str, reason: str, errors: tuple[EntityError, ...], status: int = 400) -> None:
        super().__init__(node, reason, status)
        self.errors = errors


class AdminClient:
    """A node's Admin API over kept connections. timeout is seconds; use it as a context manager.

    Methods raise AdminError. One client may be used from several threads. Reads wait for a busy node, up to `busy`
    seconds; `notice` gets a line before each pause. now and sleep are seconds, for tests.
    """

    def __init__(
        self,
        node: str,
        headers: Mapping[str, str] | None = None,
        ca: str | None = None,
        timeout: float = 10.0,
        tls: Tls | None = None,
        busy: float = BUDGET,
        notice: Callable[[str], None] = lambda line: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.node = node
        self._busy, self._notice, self._now, self._sleep = busy, notice, now, sleep
        self._pool = Pool(node, headers, timeout, tls or Tls(ca))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    # -- DB-less ---------------------------------------------------------------------------------------------
    def config_hash(self) -> str:
        """The md5 of the config that the node holds. Raises AdminError, also when it is not DB-less."""
        found = self._ok("GET", "/status").fields().get("configuration_hash")
        if not isinstance(found, str):
            reason = (
                "tells no configuration_hash: it is no DB-less node; set the cluster's mode: db or hybrid"
            )
            raise AdminError(self.node, reason, 200)
        return found

    def mode(self) -> Literal["dbless", "db", "hybrid"]:
        """How the node keeps its config; hybrid is a control plane. Raises AdminError."""
        if "configuration_hash" in self._ok("GET", "/status").fields():
            return "dbless"
        # a node of another role answers 400
        planes = self.request("GET", "/clustering/data-planes?size=1")
        return "hybrid" if planes.status == 200 else "db"

    def post_config(self, content: bytes) -> bool:
        """Push a config; whether the node changed. Raises BusyError, RejectedError or another AdminError."""
        answer = self.request("POST", _CONFIG, content, "text/yaml")
        if answer.status in (200, 201, 304):
            return answer.status != 304
        if answer.status == 429:
            raise BusyError(self.node, retry_after(answer.headers, time.time()))
        if answer.status == 400:
            body = answer.fields()
            errors = entity_errors(body)
            if not errors and not body.get("fields"):
                # flattening loses dangling references: without it Kong names them; it refuses again
                plain = self.request("POST", "/config?check_hash=1", content, "text/yaml")
                body = plain.fields() if plain.status == 400 else body
            raise RejectedError(self.node, f"refused the config: {_message(body, errors)}", errors)
        raise self._error(answer)

    def exported(self) -> bytes:
        """The config of a DB-less node as it tells it: the same entities, other bytes than were posted."""
        found = self._ok("GET", "/config").fields().get("config")
        if not isinstance(found, str):
            raise AdminError(self.node, "tells no config: it is not a DB-less Kong node", 200)
        return found.encode("utf-8", "surrogatepass")

    # -- entities --------------------------------------------------------------------------------------------
    def get(self, path: str) -> dict[str, Any]:
        """One JSON map. Raises GoneError for 404."""
        return self._ok("GET", path).fields()

    def pages(self, path: str, tags: Sequence[str] = ()) -> list[dict[str, Any]]:
        """A whole list, in pages of 1000; tags: only what has all of them, picked by the server."""
        query = f"?size={PAGE}" + (f"&tags={quote(','.join(tags), safe=',')}" if tags else "")
        found: list[dict[str, Any]] = []
        following: str | None = path + query
        while following:
            page = self._ok("GET", following).fields()
            found += page.get("data") or ()  # an empty list may arrive as {}
            more = page.get("next")
            following = more if isinstance(more, str) and page.get("data") else None
        return found

    def schema(self, name: str) -> dict[str, Any] | None:
        """GET /schemas/NAME, None when the node does not know it."""
        try:
            return self.get(f"/schemas/{name}")
        except GoneError:
            return None

    def check(self, kind: str, entity: Mapping[str, Any]) -> Answer:
        """POST /schemas/KIND/validate, which changes nothing: Kong's own answer, good or bad. Raises AdminError."""
        content = json.dumps(entity, ensure_ascii=False).encode("utf-8")
        answer = self._ok("POST", f"/schemas/{kind}/validate", content, (200, 400, 404, 500))
        if "message" in answer.fields():
            return answer
        if answer.status == 200:
            raise AdminError(self.node, "does not answer as Kong's Admin API does", 200)
        raise self._error(answer)

    def send(self, method: str, path: str, entity: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One write; what the node holds then. A busy node is waited for. Raises RejectedError for 400 and 409."""
        waiting = Waiting(self._busy, self._now, self._sleep, self._notice)
        while True:
            try:
                return self.write(method, path, entity).fields()
            except BusyError as busy:
                late = waiting.wait(self.node, busy.retry_after)
                if late is not None:
                    raise AdminError(self.node, late, 429) from busy

    def write(self, method: str, path: str, entity: Mapping[str, Any] | None = None) -> Answer:
        """As send, but for a busy node: raises BusyError for 429."""
        content = None if entity is None else json.dumps(entity, ensure_ascii=False).encode("utf-8")
        answer = self.request(method, path, content, "application/json")
        if answer.status in (200, 201, 204):
            return answer
        if answer.status == 429:
            raise BusyError(self.node, retry_after(answer.headers, time.time()))
        if answer.status in (400, 409):
            body = answer.fields()
            error = EntityError("entity", None, None, "", str(body.get("message", "is refused"))[:_MAX_TEXT])
            raise RejectedError(self.node, f"{method} {path}: {error.message}", (error,), answer.status)
        raise self._error(answer)

    # -- transport -------------------------------------------------------------------------------------------
    def request(
        self, method: str, path: str, content: bytes | None = None, kind: str | None = None
    ) -> Answer:
        """One exchange, whatever its status. Raises AdminError when no answer came."""
        headers = {"Content-Type": kind} if content is not None and kind else None
        try:
            return self._pool.request(method, path, content, headers)
        except TransportError as error:
            uncertain = error.sent and method not in ("GET", "HEAD")
            raise AdminError(
                self.node, error.reason, uncertain=uncertain, away=True, reset=error.reset
            ) from error

    def _ok(
        self, method: str, path: str, content: bytes | None = None, good: Sequence[int] = (200,)
    ) -> Answer:
        """A read that is made again when that may help. Raises AdminError for any status but those."""
        waiting: Waiting | None = None
        pauses = iter(_PAUSES)
        while True:
            try:
                answer = self.request(method, path, content, "application/json")
            except AdminError as error:
                if not (error.reset and (pause := next(pauses, 0.0))):
                    raise
                self._sleep(pause)
                continue
            if answer.status == 429 or (answer.status == 503 and "retry-after" in answer.headers):
                waiting = waiting or Waiting(self._busy, self._now, self._sleep, self._notice)
                late = waiting.wait(self.node, retry_after(answer.headers, time.time()))
                if late is not None:
                    raise AdminError(self.node, late, answer.status)
            elif answer.status in (502, 503, 504) and (pause := next(pauses, 0.0)):
                self._sleep(pause)
            elif answer.status in good:
                return answer
            else:
                raise self._error(answer)

    def _error(self, answer: Answer) -> AdminError:
        status = answer.status
        if status == 413:
            big = "the config is over the node's body limit (10 MB by default)"
            reason = "Kong's store is full; raise lmdb_map_size" if answer.fields() else big
        elif status in (401, 403):
            reason = f"refused access (HTTP {status}); check the cluster's admin.headers"
        elif status in (404, 405):
            reason = f"does not have that (HTTP {status}); check the node's URL and the cluster's mode"
        elif status == 400 and b"SSL certificate" in answer.body:  # nginx's page, with ssl_verify_client
            reason = (
                "wants a client certificate that it trusts (HTTP 400); set the cluster's admin.client_cert"
            )
        else:
            text = str(answer.fields().get("message") or "") or " ".join(answer.reason.split())
            reason = f"answered HTTP {status}: {text[:_MAX_TEXT]}"
        kind = GoneError if status == 404 else AdminError
        again = retry_after(answer.headers, time.time())
        return kind(self.node, reason, status, uncertain=status in (500, 502, 503, 504), retry_after=again)


def _message(body: Mapping[str, Any], errors: tuple[EntityError, ...]) -> str:
    if errors:
        return f"{len(errors)} error{'' if len(errors) == 1 else 's'}"
    return str(body.get("message", "no reason given"))[:_MAX_TEXT]
