"""Host names and addresses as Kong reads them (kong/tools/ip.lua): names, IPv4, IPv6, each with a port at will."""

from __future__ import annotations

import re
from typing import NamedTuple

BAD_PORT = "invalid port number"
_MOST = 65535


class Host(NamedTuple):
    """kind: name, ipv4 or ipv6; host in its normal form, IPv6 in full and without brackets."""

    kind: str
    host: str
    port: int | None


def parse(address: str) -> Host | str:
    """The parts of an address, or Kong's text of what is wrong with it."""
    if address.count(":") > 1:
        return _v6(address)
    if re.fullmatch(r"[0-9.]+", address.replace(":", "")):
        return _v4(address)
    return _name(address)


def _v4(address: str) -> Host | str:
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?::(\d+))?", address, re.ASCII)
    if not found or any(int(part) > 255 for part in found.groups()[:4]):
        return f"invalid ipv4 address: {address}"
    if found[5] and int(found[5]) > _MOST:
        return BAD_PORT
    return Host(
        "ipv4", ".".join(str(int(part)) for part in found.groups()[:4]), int(found[5]) if found[5] else None
    )


def _v6(address: str) -> Host | str:
    bracketed = re.fullmatch(r"\[(.*)\](.*)", address)
    bare, port = address, None
    if bracketed:
        bare = bracketed[1]
        if bracketed[2]:
            digits = re.fullmatch(r":(\d+)", bracketed[2], re.ASCII)
            if not digits:
                return "invalid ipv6 address"
            port = int(digits[1])
            if port > _MOST:
                return BAD_PORT
    expanded = _expanded(bare)
    return Host("ipv6", expanded, port) if expanded else f"invalid ipv6 address: {address}"


def _expanded(bare: str) -> str | None:
    """All eight groups of an address. As in Kong none may be dotted (`::ffff:1.2.3.4`), and there are no zones."""
    text = f"{'0' * bare.startswith(':')}{bare}{'0' * bare.endswith(':')}"
    if "::" in text:
        text = text.replace("::", f":{'0:' * (8 - text.count(':'))}", 1)
    groups = text.split(":")
    if len(groups) != 8 or not all(re.fullmatch(r"[0-9A-Fa-f]{1,4}", group) for group in groups):
        return None
    return ":".join(group.zfill(4) for group in groups).lower()


def _name(address: str) -> Host | str:
    found = re.search(r":([0-9]+)$", address)
    name = address[: found.start()] if found else address
    if found and int(found[1]) > _MOST:
        return BAD_PORT
    *labels, last = name.split(".")
    good = re.fullmatch(r"[A-Za-z0-9\-._]+", name) and all(labels) and not last.endswith("-")
    if not good or any(label.endswith("-") for label in labels):
        return f"invalid hostname: {address}"
    return Host("name", name, int(found[1]) if found else None)
