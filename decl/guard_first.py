"""A DB-less node without the adapter gets it first, and the rest when all its workers have it.

Kong 3.9 changes its router in place while it still builds the list of plugins for a new config (kong/router/atc.lua,
new_from_previous), so for some milliseconds new routes are served with the plugins of the config before. Where
the adapter is among those, a route with the tag of a protected one answers 503. A new node, or one that lost its
config, would serve it open.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import yaml

from decl.admin import AdminError
from decl.apply_db import StoppedError
from decl.flatten import flatten
from decl.kinds import KINDS
from decl.probe import expected_hash, wait_live
from decl.render import EMPTY_HASH, Entity, canonical

GUARD = "kgate"
NAMES = ("kgate-facts", GUARD)
SETTLE_SECONDS = 2.0
"""Where no proxy is known that could be asked: workers are told at once, and build an empty router."""


class Asked(Protocol):
    """What is asked of a node."""

    node: str

    def exported(self) -> bytes: ...

    def pages(self, path: str, tags: Sequence[str] = ()) -> list[dict[str, Any]]: ...


class GuardFirst(NamedTuple):
    """document: the config that is to come. proxy: that of a node by the node's URL, None where it is not known (one
    in front of all nodes proves nothing of one)."""

    document: Entity
    proxy: Callable[[str], str | None] = lambda node: None
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def needed(self) -> bool:
        """Whether a route of the config must not be served without the adapter that the config has. Where a passport
        is optional it would hand on a forged one."""
        flat = flatten(self.document)
        has_passport = any(plugin["name"] == "passport" for plugin in flat["plugins"].values())
        return has_passport and expected_hash(flat) is not None

    def config(self, node: Asked, held: str) -> bytes | None:
        """What a node that holds a config with this hash must get before: its own with the adapter added; None when
        it has the adapter. Raises AdminError."""
        if held == EMPTY_HASH:
            return self._added({"_format_version": "3.0"})
        if any(_is_global(plugin) and plugin.get("enabled", True) for plugin in node.pages("/plugins")):
            return None
        try:
            before = yaml.load(node.exported(), _Loader)  # noqa: S506 (a SafeLoader)
        except (yaml.YAMLError, ValueError) as error:
            raise AdminError(node.node, f"its config cannot be read: {error}") from error
        if not isinstance(before, dict):
            raise AdminError(node.node, "its config cannot be read: it is no map")
        return self._added(before)

    def wait(self, node: str) -> None:
        """Return when all workers of the node have the adapter. Raises AdminError."""
        proxy, expected = self.proxy(node), expected_hash(flatten(self.document))
        if proxy is None or expected is None:  # the second never, where it is needed
            self.sleep(SETTLE_SECONDS)
            return
        try:
            wait_live([proxy], expected, now=self.now, sleep=self.sleep)
        except StoppedError as error:
            raise AdminError(node, str(error)) from error

    def _added(self, before: Entity) -> bytes:
        mine = [plugin for plugin in self.document.get("plugins", ()) if _is_global(plugin, NAMES)]
        others = [plugin for plugin in before.get("plugins") or () if not _is_global(plugin, NAMES)]
        return canonical({**before, "plugins": [*others, *mine]})


def _is_global(plugin: Mapping[str, Any], names: Sequence[str] = (GUARD,)) -> bool:
    return plugin.get("name") in names and not any(plugin.get(field) for field in KINDS["plugins"].refs)


class _Loader(yaml.SafeLoader):
    """What Kong writes: dates, `=` and `<<` are texts, and 5e-05 is a number."""


_TEXTS = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value", "tag:yaml.org,2002:merge"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _TEXTS]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]+)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
