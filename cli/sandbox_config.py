"""What `kgate sandbox -f` reads: Kong's own format as it is, kgate's files rendered for one cluster.

The renderer is imported when there is something to read: a sandbox without files starts in less time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import ADAPTER_PLUGINS

if TYPE_CHECKING:
    from decl.load import Text


_OURS = ("clusters", "tenants", "issuers")


class BadConfig(Exception):
    """The files cannot be used; lines: what is wrong, with its place."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))


class Loaded(NamedTuple):
    """The bytes for the sandbox, the files that they came from, and findings that are no errors."""

    content: bytes
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """What the node's /status will say."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


def load(path: Path, cluster: str | None, socket: Path, env: Mapping[str, str]) -> Loaded:
    """The configuration in a file or folder.

    cluster: which one to render, when the files have several. socket: the express lane's, for the adapter.
    env: what `${{ env "X" }}` sees. Raises BadConfig, UsageError, OSError.
    """
    from cli.files import read_texts

    texts = tuple(read_texts((path,)))
    files = tuple(Path(text.name) for text in texts)
    if len(texts) == 1 and not _is_ours(texts[0].content):
        return Loaded(texts[0].content, files)
    return _rendered(texts, files, cluster, socket, env)


def _is_ours(content: bytes) -> bool:
    """Whether the file says what only kgate understands, or gates routes without having the adapter in it."""
    try:
        document = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError):
        return False  # the sandbox says what is wrong, as Kong does
    if not isinstance(document, dict):
        return False
    if any(key in document for key in _OURS):
        return True
    names = {plugin.get("name") for plugin in _plugins(document)}
    return bool(names & set(PLUGINS)) and not names & set(ADAPTER_PLUGINS)


def _plugins(value: Any) -> Iterable[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _plugins(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "plugins" and isinstance(item, list):
                yield from (plugin for plugin in item if isinstance(plugin, dict))
            elif key != "config":
                yield from _plugins(item)


def _rendered(
    texts: tuple[Text, ...],
    files: tuple[Path, ...],
    cluster: str | None,
    socket: Path,
    env: Mapping[str, str],
) -> Loaded:
    from cli.project import chosen_cluster
    from cli.report import human
    from decl.findings import has_errors
    from decl.late import Resolver
    from decl.project import open_project
    from decl.render import canonical, render

    project = open_project(texts, env)
    lines = tuple(human.findings(project.findings))
    if project.gateway is None or has_errors(project.findings):
        raise BadConfig(lines)
    rendered = render(project.gateway, chosen_cluster(project.gateway, cluster))
    try:
        document = rendered.resolved(Resolver(env, lambda name: Path(name).read_bytes())).document
    except ValueError as error:
        raise BadConfig([str(error)]) from error
    for plugin in document.get("plugins", ()):
        if plugin["name"] in ADAPTER_PLUGINS:
            plugin["config"]["socket"] = str(socket)  # this run dir's, whatever the cluster says
    return Loaded(canonical(document), files, lines)
