"""What the schemas of Kong's bundled plugins check in Lua code, which no answer of the Admin API tells.

After kong/plugins/*/schema.lua and kong/db/schema/typedefs.lua of Kong 3.9.3, in its words. Values that are read late
and references to a vault are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from decl.findings import Path, Problem
from decl.kong import values
from decl.late import is_marked

Config = Mapping[str, Any]
RULE = "plugin-config"

_PERIODS = ("second", "minute", "hour", "day", "month", "year")
_FLOWS = (
    "enable_authorization_code",
    "enable_implicit_grant",
    "enable_client_credentials",
    "enable_password_grant",
)


def check(name: str, config: Config, path: Path) -> Iterator[Problem]:
    """What Kong would refuse in a plugin's config with its defaults filled in; path is the config's."""
    for field, single in _FIELDS.get(name, {}).items():
        held: Any = config
        for step in field.split("."):
            held = held.get(step) if isinstance(held, Mapping) else None
        at = (*path, *field.split("."))
        items = enumerate(held) if isinstance(held, list) else ()
        for place, item in ((at, held), *(((*at, index), item) for index, item in items)):
            if isinstance(item, str) and not _is_late(item) and (why := single(item)):
                yield Problem(place, RULE, f"{field}: {why}")
    whole = _WHOLE.get(name)
    if whole is not None:
        for place, message in whole(config):
            yield Problem((*path, *place), RULE, message)


def needed(name: str) -> bool:
    """Whether a plugin has such checks."""
    return name in _FIELDS or name in _WHOLE


def _is_late(value: str) -> bool:
    return is_marked(value) or value.startswith("{vault://")


def _url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
    except ValueError:
        return None  # Kong reads some of those
    return None if parts.netloc else "missing host in url"


Wrong = Iterator[tuple[Path, str]]


def _order(limits: Config) -> tuple[str, str] | None:
    """The first two limits of which the longer period has the lower one."""
    given = [
        name
        for name in _PERIODS
        if isinstance(limits.get(name), int | float) and not isinstance(limits[name], bool)
    ]
    for number, shorter in enumerate(given):
        for longer in given[number + 1 :]:
            if limits[longer] < limits[shorter]:
                return shorter, longer
    return None


def _rate_limiting(config: Config) -> Wrong:
    pair = _order(config)
    if pair is not None:
        shorter, longer = pair
        yield (
            (longer,),
            f"the limit for {longer} ({config[longer]:g}) cannot be lower than the limit for {shorter} "
            f"({config[shorter]:g})",
        )
    rate = config.get("sync_rate")
    if isinstance(rate, int | float) and rate != -1:
        if config.get("policy") != "redis":
            yield ("sync_rate",), "sync_rate can only be used with the redis policy"
        elif rate < 0.02:
            yield ("sync_rate",), "sync_rate must be greater than 0.02, or -1 to disable"


def _response_ratelimiting(config: Config) -> Wrong:
    limits = config.get("limits")
    for name, limit in limits.items() if isinstance(limits, Mapping) else ():
        pair = _order(limit) if isinstance(limit, Mapping) else None
        if pair is not None:
            shorter, longer = pair
            yield (
                ("limits", name, longer),
                f"the limit for {longer} ({limit[longer]:g}) cannot be lower than the limit for {shorter} "
                f"({limit[shorter]:g})",
            )


def _request_termination(config: Config) -> Wrong:
    raw = [name for name in ("content_type", "body") if config.get(name)]
    if config.get("message") and raw:
        yield ("message",), "message cannot be used with content_type or body"
    elif raw == ["content_type"]:
        yield ("content_type",), "content_type requires a body"
    elif config.get("echo") and raw:
        yield ("echo",), "echo cannot be used with content_type and body"


def _oauth2(config: Config) -> Wrong:
    if not any(config.get(name) for name in _FLOWS):
        yield (), f"at least one of these fields must be true: {', '.join(_FLOWS)}"


def _renamed(value: str) -> str | None:
    """`old:new`, both names of headers."""
    for name in value.split(":", 1):
        if values.header_name(name):
            return f"'{name}' is not a valid header"
    return None


_FIELDS: Mapping[str, Mapping[str, Callable[[str], str | None]]] = {
    "acme": {"api_uri": _url},
    "aws-lambda": {"aws_sts_endpoint_url": _url, "proxy_url": _url},
    "http-log": {"http_endpoint": _url},
    "ip-restriction": {"allow": values.address, "deny": values.address},
    "key-auth": {"key_names": values.header_name},
    "opentelemetry": {
        "traces_endpoint": _url,
        "logs_endpoint": _url,
        "propagation.clear": values.header_name,
    },
    "rate-limiting": {"header_name": values.header_name},
    "redirect": {"location": _url},
    "request-termination": {"trigger": values.header_name},
    "request-transformer": {"rename.headers": _renamed},
    "response-transformer": {"rename.headers": _renamed},
    "zipkin": {"http_endpoint": _url, "propagation.clear": values.header_name},
}
_WHOLE: Mapping[str, Callable[[Config], Wrong]] = {
    "oauth2": _oauth2,
    "rate-limiting": _rate_limiting,
    "request-termination": _request_termination,
    "response-ratelimiting": _response_ratelimiting,
}
