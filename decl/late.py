"""Values that are secret: `!env NAME` and `!file PATH`, read as late as possible, and what came from them.

The document, the model and what is rendered hold a Late: text that names the place of the secret and not the
secret. Who sends the config resolves it just before, into Secret: text that is itself when it is sent and
hidden when an object that holds it is shown. `${{ env "X" }}` (decK's form) is replaced while loading and
gives a Secret at once.

`{vault://...}` is neither: Kong resolves it on the node, so it is plain text here and stays as it is.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

KINDS: Final = ("env", "file")
MASK: Final = "[masked]"


class Late(str):
    """A reference to a secret. As text it is `!env NAME` or `!file PATH`: safe to show."""

    __slots__ = ("folder", "kind", "name")
    kind: str
    name: str
    folder: str

    def __new__(cls, kind: str, name: str, folder: str = "") -> Late:
        """kind: "env" or "file". folder: what a relative file name starts from."""
        self = super().__new__(cls, f"!{kind} {name}")
        self.kind, self.name, self.folder = kind, name, folder
        return self

    @property
    def path(self) -> str:
        """The file to read."""
        return os.path.normpath(os.path.join(self.folder, self.name))


class Secret(str):
    """A secret that is known: equal to its text, hidden in repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK


class Resolver(NamedTuple):
    """Where late values come from: the environment, and a function that reads a file's bytes."""

    env: Mapping[str, str]
    read: Callable[[str], bytes]

    def text(self, value: Late) -> Secret:
        """The value of one reference. Raises ValueError naming the reference, never with a secret in it."""
        if value.kind == "env":
            if value.name not in self.env:
                raise ValueError(f"{value}: the environment variable is not set")
            return Secret(self.env[value.name])
        try:
            content = self.read(value.path)
        except OSError as error:
            raise ValueError(f"{value}: cannot read {value.path}: {error.strerror}") from error
        try:
            return Secret(content.decode("utf-8").removesuffix("\n"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{value}: {value.path} is not UTF-8 text") from error


def resolved(value: Any, resolver: Resolver) -> Any:
    """A copy of a value with every reference replaced. Raises ValueError for one that cannot be read."""
    if value.__class__ is Late:
        return resolver.text(value)
    if isinstance(value, dict):
        return {key: resolved(item, resolver) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(item, resolver) for item in value]
    return value


def plain(value: Any) -> Any:
    """A copy without the marks: plain text for libraries that look at the exact type."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def is_marked(value: Any) -> bool:
    """Whether a value is a secret or a reference to one."""
    return isinstance(value, Late | Secret)
