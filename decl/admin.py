"""One node's Admin API, as far as DB-less pushes need it.

Answers that were recorded from Kong 3.9: 201 stored, 304 the same, 400 with `flattened_errors`, 413 as JSON
(LMDB full) or HTML (over 10 MB), 429 with Retry-After while another config is being loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import requests

CONNECT_TIMEOUT = 5.0
"""Seconds to get a connection; `timeout` bounds the answer."""

_CONFIG = "/config?check_hash=1&flatten_errors=1"
_MAX_TEXT = 300
_RETRY_AFTER_DEFAULT, _RETRY_AFTER_MAX = 1.0, 10.0


class AdminError(Exception):
    """A node's Admin API did not do what was asked.

    status is the HTTP status, None when there was no answer. `uncertain` says that the config may have been
    stored all the same: the node's hash must be read before anything is concluded.
    """

    def __init__(self, node: str, reason: str, status: int | None = None, uncertain: bool = False) -> None:
        super().__init__(f"{node}: {reason}")
        self.node = node
        self.reason = reason
        self.status = status
        self.uncertain = uncertain


class BusyError(AdminError):
    """The node is loading another config; try again after `retry_after` seconds."""

    def __init__(self, node: str, retry_after: float) -> None:
        super().__init__(node, "is still loading another config", 429)
        self.retry_after = retry_after


class EntityError(NamedTuple):
    """One error of Kong in one entity; `field` is dotted and counts list items from 1, "" for the entity."""

    entity_type: str
    entity_id: str | None
    entity_name: str | None
    field: str
    message: str


class RejectedError(AdminError):
    """Kong refused the config and keeps the old one."""

    def __init__(self, node: str, reason: str, errors: tuple[EntityError, ...]) -> None:
        super().__init__(node, reason, 400)
        self.errors = errors


class AdminClient:
    """A node's Admin API over one kept connection. timeout is seconds; use it as a context manager."""

    def __init__(
        self,
        node: str,
        headers: Mapping[str, str] | None = None,
        ca: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.node = node
        self._timeout = (min(CONNECT_TIMEOUT, timeout), timeout)
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy or a .netrc must not see the admin's credentials
        self._session.headers.update(headers or {})
        if ca is not None:
            self._session.verify = ca

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def config_hash(self) -> str:
        """The md5 of the config that the node holds. Raises AdminError, also when it is not DB-less."""
        answer = self._request("GET", "/status")
        if answer.status_code != 200:
            raise self._error(answer)
        found = _json_map(answer).get("configuration_hash")
        if not isinstance(found, str):
            raise AdminError(self.node, "tells no configuration_hash: it is not a DB-less Kong node", 200)
        return found

    def post_config(self, content: bytes) -> bool:
        """Push a config; whether the node changed. Raises BusyError, RejectedError or another AdminError."""
        answer = self._request("POST", _CONFIG, content)
        if answer.status_code in (200, 201, 304):
            return answer.status_code != 304
        if answer.status_code == 429:
            raise BusyError(self.node, _retry_after(answer))
        if answer.status_code == 400:
            body = _json_map(answer)
            errors = _entity_errors(body)
            if not errors and not body.get("fields"):
                # flattening loses dangling references: without it Kong names them; it refuses again
                plain = self._request("POST", "/config?check_hash=1", content)
                body = _json_map(plain) if plain.status_code == 400 else body
            raise RejectedError(self.node, f"refused the config: {_message(body, errors)}", errors)
        raise self._error(answer)

    def _request(self, method: str, path: str, content: bytes | None = None) -> requests.Response:
        headers = {"Content-Type": "text/yaml"} if content is not None else None
        try:
            return self._session.request(
                method,
                self.node + path,
                data=content,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise AdminError(self.node, f"TLS failed: {_cause(error)}; check admin.ca") from error
        except requests.exceptions.ConnectTimeout as error:
            raise AdminError(self.node, f"is away: no connection within {self._timeout[0]:g} s") from error
        except requests.exceptions.Timeout as error:
            reason = f"gave no answer within {self._timeout[1]:g} s"
            raise AdminError(self.node, reason, uncertain=method == "POST") from error
        except requests.exceptions.ConnectionError as error:
            raise AdminError(self.node, f"is away: {_cause(error)}", uncertain=method == "POST") from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise AdminError(self.node, f"cannot be asked: {_cause(error)}") from error

    def _error(self, answer: requests.Response) -> AdminError:
        status = answer.status_code
        if status == 413:
            big = "the config is over the node's body limit (10 MB by default)"
            reason = "Kong's store is full; raise lmdb_map_size" if _json_map(answer) else big
        elif status in (401, 403):
            reason = f"refused access (HTTP {status}); check the cluster's admin.headers"
        elif status in (404, 405):
            reason = f"is no DB-less Admin API (HTTP {status}); check the node's URL and the cluster's mode"
        else:
            text = str(_json_map(answer).get("message") or "") or " ".join(answer.reason.split())
            reason = f"answered HTTP {status}: {text[:_MAX_TEXT]}"
        return AdminError(self.node, reason, status, uncertain=status in (500, 503, 504))


def _json_map(answer: requests.Response) -> dict[str, Any]:
    try:
        body = json.loads(answer.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _entity_errors(body: Mapping[str, Any]) -> tuple[EntityError, ...]:
    """Kong's flattened errors. An empty list arrives as {}."""
    found = []
    entities = body.get("flattened_errors")
    for entity in entities if isinstance(entities, list) else []:
        for error in entity.get("errors", ()):
            messages = error.get("messages") or [error.get("message", "is refused")]
            for message in messages:
                found.append(
                    EntityError(
                        entity_type=str(entity.get("entity_type", "entity")),
                        entity_id=entity.get("entity_id"),
                        entity_name=entity.get("entity_name"),
                        field=str(error.get("field", "")),
                        message=str(message),
                    )
                )
    return tuple(found)


def _message(body: Mapping[str, Any], errors: tuple[EntityError, ...]) -> str:
    if errors:
        return f"{len(errors)} error{'' if len(errors) == 1 else 's'}"
    return str(body.get("message", "no reason given"))[:_MAX_TEXT]


def _retry_after(answer: requests.Response) -> float:
    try:
        seconds = float(answer.headers.get("Retry-After", _RETRY_AFTER_DEFAULT))
    except ValueError:
        seconds = _RETRY_AFTER_DEFAULT
    return min(max(seconds, 0.0), _RETRY_AFTER_MAX)


def _cause(error: BaseException) -> str:
    """The innermost cause in a few words: requests wraps it three times."""
    cause: BaseException = error
    for _ in range(8):
        inner = getattr(cause, "reason", None)
        if not isinstance(inner, BaseException):
            inner = cause.__cause__ or cause.__context__
        if inner is None:
            break
        cause = inner
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return " ".join(str(text or type(cause).__name__).split())[:_MAX_TEXT]
