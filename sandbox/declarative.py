"""What POST /config and KONG_DECLARATIVE_CONFIG carry: content types, YAML, the hash, Kong's 400."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from typing import Any

import yaml

from sandbox import http_errors
from sandbox.error_shape import lua_literal
from sandbox.exchange import get_first
from sandbox.flatten import flatten as flatten_errors
from sandbox.request import Request
from sandbox.store import EMPTY_HASH, Store
from sandbox.validate import InvalidConfig, KongError, PluginSchemas, parse

_YAML = ("text/yaml", "application/yaml")
_HTML = (
    "<html>\r\n<head><title>{0}</title></head>\r\n"
    "<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"
)


class Reply(Exception):
    """An answer, raised from anywhere in a handler."""

    def __init__(self, status: int, body: Any = None, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


def read_config(request: Request, body: bytes) -> tuple[Any, str]:
    """The configuration of POST /config and its hash. Raises Reply."""
    kind = (get_first(request.headers, "content-type") or "").partition(";")[0].strip().lower()
    if not body and kind in ("", "application/json", *_YAML):
        raise Reply(400, {"message": "expected a declarative configuration"})
    if kind in _YAML:
        return _yaml(body), _md5(body)
    if kind == "application/x-www-form-urlencoded":
        form = urllib.parse.parse_qs(body.decode("utf-8", "replace"))
        text = form.get("config", [""])[0].encode()
        return _yaml(text), _md5(text)
    if kind != "application/json":
        raise html(415)
    try:
        config = json.loads(body)
    except ValueError:
        raise Reply(400, {"message": "Cannot parse JSON body"}) from None
    if isinstance(config, dict) and "config" in config:
        if not isinstance(config["config"], str):
            raise Reply(400, _parse_error("must provide a string argument"))
        return _yaml(config["config"].encode()), _md5(config["config"].encode())
    # Kong hashes its own printing of the table, in no fixed order: another hash each time, so never 304
    return config, _md5(os.urandom(16))


def load(config: Any, digest: str, schemas: PluginSchemas) -> Store:
    """A store from a parsed declarative configuration. Raises InvalidConfig, Reply where Kong fails itself."""
    try:
        entities = parse(config, schemas)
    except KongError:
        raise Reply(500, {"message": "An unexpected error occurred"}) from None
    return Store(entities, digest if any(entities.values()) else EMPTY_HASH)


def load_file(path: str, schemas: PluginSchemas) -> Store:
    """KONG_DECLARATIVE_CONFIG. Raises OSError, InvalidConfig, ValueError for text that is no YAML."""
    with open(path, "rb") as f:
        return load_bytes(f.read(), schemas)


def load_bytes(data: bytes, schemas: PluginSchemas) -> Store:
    """A declarative configuration as text. Raises InvalidConfig, ValueError for text that is no YAML."""
    try:
        return load(_yaml(data), _md5(data), schemas)
    except Reply as e:
        raise ValueError(e.body["fields"]["error"] if "fields" in e.body else e.body["message"]) from e


def invalid(e: InvalidConfig, flatten: bool) -> dict[str, Any]:
    """The body of Kong's 400."""
    if not flatten:
        return _refused(str(e).partition(": ")[2], e.errors)
    flat, rest = flatten_errors(e.config, e.errors)
    return {**_refused(lua_literal(rest), rest), "flattened_errors": flat or {}}


def _refused(text: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "code": 14,
        "name": "invalid declarative configuration",
        "message": f"declarative config is invalid: {text}",
        "fields": fields,
    }


def html(status: int) -> Reply:
    """nginx's own page."""
    name = {405: "Not Allowed", 413: "Request Entity Too Large"}.get(status, http_errors.reason(status))
    return Reply(status, _HTML.format(f"{status} {name}"))


def _parse_error(why: str) -> dict[str, Any]:
    error = f"failed parsing declarative configuration: {why}"
    return _refused(f'{{error="{error}"}}', {"error": error})


def _yaml(data: bytes) -> Any:
    try:
        text = data.decode()
        try:
            value = json.loads(text)  # canonical JSON is YAML too, and much faster to read so
        except ValueError:
            value = yaml.load(text, Loader=_Loader)  # noqa: S506 # a SafeLoader
    except UnicodeDecodeError:
        raise Reply(400, _parse_error("not UTF-8")) from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        at = f"{mark.line + 1}:{mark.column}: " if mark else ""
        raise Reply(400, _parse_error(at + str(getattr(e, "problem", None) or e))) from None
    if not isinstance(value, dict):
        raise Reply(400, _parse_error("expected an object"))
    return value


class _Loader(yaml.SafeLoader):
    """Safe YAML without dates: Kong knows none."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
