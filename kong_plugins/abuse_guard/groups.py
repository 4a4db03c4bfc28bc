"""Groups: whom a scenario counts together, and what of them can be blocked or marked.

A group is text that every node writes alike: "ip 203.0.113.7", "cidr 203.0.113.0/24", "user ISS|SUB". A part that a
request does not show (no verified user, say) makes it belong to no group.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from kong_plugins.abuse_guard.scenario import Scenario
from kong_plugins.abuse_guard.trace import Trace
from kong_plugins.engine.outcome import Outcome
from kong_plugins.state.addresses import Address, network_set, parse_address

_PRIVATE = network_set(
    (
        "0.0.0.0/8", "127.0.0.0/8", "::/127",  # this host
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",  # RFC 1918, RFC 4193
        "100.64.0.0/10",  # behind a carrier's NAT, RFC 6598
        "169.254.0.0/16", "fe80::/10",  # link-local
    ),
    "private",
)  # fmt: skip


class Place(NamedTuple):
    """An address as it is counted: key of it alone (IPv6: its /64), of its network (/24; IPv6: /56)."""

    address: Address
    key: str
    network: str

    @property
    def is_private(self) -> bool:
        """An address that is nobody's on the Internet."""
        return self.address in _PRIVATE


@lru_cache(maxsize=16_384)
def place_of(ip: str) -> Place | None:
    """The place of an address, None for what is none."""
    try:
        address = parse_address(ip)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        text = str(address)
        return Place(address, f"ip {text}", f"cidr {text.rpartition('.')[0]}.0/24")
    number = int(address)
    return Place(address, f"cidr {_v6(number, 64)}", f"cidr {_v6(number, 56)}")


def _v6(number: int, bits: int) -> str:
    shift = 128 - bits
    return f"{IPv6Address(number >> shift << shift)}/{bits}"


def group_of(scenario: Scenario, outcome: Outcome, trace: Trace, place: Place | None) -> str:
    """The group of an outcome, "" when it belongs to none."""
    parts = []
    for part in scenario.group_by:
        text = _part(part, outcome, trace, place)
        if not text:
            return ""
        parts.append(text)
    return parts[0] if len(parts) == 1 else "\n".join(parts)


def value_of(scenario: Scenario, trace: Trace, place: Place | None) -> str:
    """What counts once in a scenario with `distinct`, "" where the request does not show it."""
    match scenario.distinct:
        case "path":
            return trace.path
        case "agent":
            return trace.agent
        case "user":
            return trace.user
        case "ip":
            return place.key if place else ""
        case "network":
            return place.network if place else ""
    return ""


def target_of(group: str, kinds: tuple[str, ...]) -> str:
    """The part of a group that can be acted on: the first that begins with one of these kinds, else ""."""
    for kind in kinds:
        for part in group.split("\n"):
            if part.startswith(kind + " "):
                return part
    return ""


def _part(part: str, outcome: Outcome, trace: Trace, place: Place | None) -> str:
    match part:
        case "ip":
            return place.key if place else ""
        case "network":
            return place.network if place else ""
        case "user":
            return f"user {trace.user}" if trace.user else ""
        case "token":
            return f"token {trace.token}" if trace.token else ""
        case "agent":
            return f"agent {trace.agent}" if trace.agent else ""
        case "route":
            return f"route {outcome.route}"
        case _:
            return f"tenant {outcome.tenant}"
