"""Whom no automatic block may hit: private addresses, and whom a config, a list or an operator allows."""

from __future__ import annotations

from collections.abc import Sequence

from kong_plugins.abuse_guard.config import Config
from kong_plugins.abuse_guard.groups import Place, place_of
from kong_plugins.state.addresses import parse_network
from kong_plugins.state.base import ListIndex, Snapshot


def why_spared(target: str, configs: Sequence[Config], snapshot: Snapshot | None, now: float) -> str:
    """Why a target ("ip V", "cidr V", "user ISS|SUB", "token ...") is not to be blocked, "" when it may be.

    configs: all that have the scenario; one that allows is enough. Of a network its first address counts: whoever is
    allowed alone is not stopped by a block around him.
    """
    kind, _, value = target.partition(" ")
    if kind in ("ip", "cidr"):
        place = place_of(str(parse_network(value).network_address))
        return "" if place is None else _why_address(place, configs, snapshot, now)
    if kind == "user" and snapshot is not None:
        issuer, _, subject = value.partition("|")
        if snapshot.allows.match_user(issuer, subject, now) is not None or any(
            held.has_user(issuer, subject, now) for held in _lists(configs, snapshot)
        ):
            return "an allowed user"
    return ""


def _why_address(place: Place, configs: Sequence[Config], snapshot: Snapshot | None, now: float) -> str:
    if place.is_private and not all(config.block_private for config in configs):
        return "a private address"
    if any(place.address in config.allow for config in configs):
        return "an allowed address"
    ip = str(place.address)
    if snapshot is not None and (
        snapshot.allows.holds(ip, now) or any(held.has_address(ip, now) for held in _lists(configs, snapshot))
    ):
        return "an allowed address"
    return ""


def _lists(configs: Sequence[Config], snapshot: Snapshot) -> list[ListIndex]:
    names = {name for config in configs for name in config.allow_lists}
    found = (snapshot.lists.get(name) for name in names)
    return [held for held in found if held is not None]
