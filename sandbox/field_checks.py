"""Kong's own checks of single values: names, paths, hosts, targets, tags. Each gives the error text or None."""

from __future__ import annotations

import ipaddress
import re

from decl.routing import path_pattern

_HOST_LABELS = re.compile(r"(?!-)[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*\.?")


def name(value: str) -> str | None:
    """Names of services and routes: letters (any script), digits and . - _ ~."""
    if re.fullmatch(r"[\w.\-~]+", value):
        return None
    return f"invalid value '{value}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"


def tag(value: str) -> str | None:
    """Tags stand in queries, where `,` and `/` mean something."""
    if value and not re.search(r"[,/\x00-\x1f\x7f]", value):
        return None
    return f"invalid tag '{value}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"


def service_path(value: str) -> str | None:
    """The path of a service: RFC 3986 characters."""
    if re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:@]*", value):
        return _escapes(value)
    return f"invalid path: '{value}' (characters outside of the reserved list of RFC 3986 found)"


def host(value: str) -> str | None:
    """A host name or address without a port."""
    if is_ip(value):
        return None
    if re.fullmatch(r"[^:]*:\d+", value):
        return "must not have a port"
    return None if _HOST_LABELS.fullmatch(value) else f"invalid value: {value}"


def route_host(value: str) -> str | None:
    """A route's host: a wildcard at one end, a port at will."""
    if value.count("*") > 1:
        return "invalid wildcard: must have at most one wildcard"
    if "*" in value and not (value.startswith("*.") or value.endswith(".*")):
        return "invalid wildcard: must be placed at leftmost or rightmost label"
    bare = re.sub(r":\d+$", "", value.replace("*.", "", 1).replace(".*", "", 1))
    return None if is_ip(bare) or _HOST_LABELS.fullmatch(bare) else f"invalid hostname: {value}"


def route_path(value: str) -> str | None:
    """A fixed path (normalised) or a regular expression after `~`."""
    if value.startswith("~/"):
        try:
            re.compile(path_pattern(value))
        except re.error as e:
            failed = f'PCRE returned: pcre2_compile() failed: {e.msg} in "{value[1:]}"'
            return f"invalid regex: '{value[1:]}' ({failed})"
        return None
    if not value.startswith("/"):
        return "should start with: / (fixed path) or ~/ (regex path)"
    if "//" in value:
        return "must not have empty segments"
    return _escapes(value) or _normal(value)


def _escapes(value: str) -> str | None:
    bad = re.search(r"%(?![0-9A-Fa-f]{2})(..?)?", value)
    return f"invalid url-encoded value: '{bad[0]}'" if bad else None


def _normal(value: str) -> str | None:
    def decode(match: re.Match[str]) -> str:
        code = int(match[1], 16)
        return match[0].upper() if chr(code) in "!#$%&'()*+,/:;=?@[]" or code > 126 else chr(code)

    normal = re.sub(r"%([0-9A-Fa-f]{2})", decode, value)
    return None if normal == value else f"non-normalized path, consider use '{normal}' instead"


def upstream_name(value: str) -> str | None:
    """An upstream's name stands for a host, so it looks like one."""
    said = f"Invalid name ('{value}')"
    if is_ip(value):
        return f"{said}; no ip addresses allowed"
    if re.search(r":\d+$", value):
        return f"{said}; no port allowed"
    return None if _HOST_LABELS.fullmatch(value) else f"{said}; must be a valid hostname"


def target(value: str) -> str | None:
    """host, host:port, [v6] or [v6]:port."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)(?::(\d{1,5}))?", value)
    if found and int(found[2] or 0) <= 65535:
        return None
    return f"Invalid target ('{value}'); not a valid hostname or ip address"


def full_target(value: str) -> str:
    """A target as Kong keeps it: with a port, an IPv6 address in full."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", value)
    if not found:
        return value
    where, port = found[1], found[2] or "8000"
    if where.startswith("["):
        try:
            where = f"[{ipaddress.IPv6Address(where[1:-1]).exploded}]"
        except ValueError:
            return value
    return f"{where}:{port}"


def is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        return False
    return True
