"""Kong's own checks of single values: names, paths, hosts, targets, tags. Each gives the error text or None."""

from __future__ import annotations

import ipaddress
import re

from decl.kong import hosts
from decl.routing import compiled, path_pattern


def not_utf8(value: str) -> str | None:
    """Bytes that are no UTF-8 stand in a text as lone surrogates (`surrogateescape`)."""
    found = re.search("[\ud800-\udfff]", value)
    if not found:
        return None
    return f"invalid utf-8 character sequence detected at position {len(value[: found.start()].encode()) + 1}"


def name(value: str) -> str | None:
    """Names of services and routes: letters (any script), digits and . - _ ~."""
    if bad := not_utf8(value):
        return bad
    if re.fullmatch(r"[A-Za-z0-9.\-~_\x80-\U0010ffff]+", value):
        return None
    return f"invalid value '{value}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"


def tag(value: str) -> str | None:
    """Tags stand in queries, where `,` and `/` mean something."""
    if bad := not_utf8(value):
        return bad
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
    found = hosts.parse(value)
    if isinstance(found, str) and found != hosts.BAD_PORT:
        return f"invalid value: {value}"
    return "must not have a port" if isinstance(found, str) or found.port is not None else None


def host_and_port(value: str) -> str | None:
    """A host name or address, a port at will."""
    found = hosts.parse(value)
    return found if isinstance(found, str) else None


def route_host(value: str) -> str | None:
    """A route's host: a wildcard at one end, a port at will."""
    if value.count("*") > 1:
        return "invalid wildcard: must have at most one wildcard"
    if "*" in value and not (value.startswith("*.") or value.endswith(".*")):
        return "invalid wildcard: must be placed at leftmost or rightmost label"
    return host_and_port(value.replace("*", "abc"))


def sni(value: str) -> str | None:
    """A name of TLS, a wildcard at one end."""
    if "*" in value:
        if value.index("*") not in (0, len(value) - 1):
            return "wildcard must be leftmost or rightmost character"
        if value.count("*") > 1:
            return "only one wildcard must be specified"
        value = value.replace("*", "wildcard")
    found = hosts.parse(value)
    if not isinstance(found, str) and found.kind != "name":
        return "must not be an IP"
    return host(value)


def header_name(value: str) -> str | None:
    """The name of a header."""
    if re.fullmatch(r"[A-Za-z0-9\-_]+", value):
        return None
    return f"bad header name '{value}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"


def cookie_name(value: str) -> str | None:
    """The name of a cookie: a token of RFC 9110."""
    if re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", value):
        return None
    return (
        "contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the "
        'characters ()<>@,;:\\"/?={}[] are not allowed.'
    )


def route_path(value: str) -> str | None:
    """A fixed path (normalised) or a regular expression after `~`."""
    if "//" in value and value.startswith(("/", "~/")):
        return "must not have empty segments"
    if value.startswith("~/"):
        try:
            compiled(path_pattern(value))
        except re.error as e:
            failed = f'PCRE returned: pcre2_compile() failed: {e.msg} in "{value[1:]}"'
            return f"invalid regex: '{value[1:]}' ({failed})"
        return None
    if not value.startswith("/"):
        return "should start with: / (fixed path) or ~/ (regex path)"
    return _escapes(value) or _normal(value)


def _escapes(value: str) -> str | None:
    bad = re.search(r"%(?![0-9A-Fa-f]{2})(..?)?", value)
    return f"invalid url-encoded value: '{bad[0]}'" if bad else None


def _normal(value: str) -> str | None:
    def decode(match: re.Match[bytes]) -> bytes:
        byte = bytes((int(match[1], 16),))
        return match[0].upper() if byte in b"!#$%&'()*+,/:;=?@[]" else byte

    decoded = re.sub(rb"%([0-9A-Fa-f]{2})", decode, value.encode("utf-8", "surrogateescape"))
    normal = _without_dots(decoded.decode("utf-8", "backslashreplace"))
    return None if normal == value else f"non-normalized path, consider use '{normal}' instead"


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4."""
    out: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments, 1):
        if segment == ".." and out:
            out.pop()
        if segment not in (".", ".."):
            out.append(segment)
        elif number == len(segments):
            out.append("")
    return "/" + "/".join(out)


def address(value: str) -> str | None:
    """An address or a CIDR range."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return f"invalid ip or cidr range: '{value}'"
    return None


def redirect_uri(value: str) -> str | None:
    """Where OAuth 2 sends the user back to: RFC 6749, section 3.1.2."""
    if not re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#\s]", value):
        return f"cannot parse '{value}'"
    return f"fragment not allowed in '{value}'" if "#" in value else None


def upstream_name(value: str) -> str | None:
    """An upstream's name stands for a host, so it looks like one."""
    said, found = f"Invalid name ('{value}')", hosts.parse(value)
    if isinstance(found, str):
        return f"{said}; must be a valid hostname"
    if found.kind != "name":
        return f"{said}; no ip addresses allowed"
    return f"{said}; no port allowed" if found.port is not None else None


def target(value: str) -> str | None:
    """A host or address, a port at will."""
    if isinstance(hosts.parse(value), str):
        return f"Invalid target ('{value}'); not a valid hostname or ip address"
    return None


def full_target(value: str) -> str:
    """A target as Kong keeps it: with a port, an IPv6 address in full."""
    found = hosts.parse(value)
    if isinstance(found, str):
        return value
    where = f"[{found.host}]" if found.kind == "ipv6" else found.host
    return f"{where}:{found.port or 8000}"
