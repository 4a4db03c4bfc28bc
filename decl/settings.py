"""`.kgate.yaml`: how a repository wants its files to be checked.

rules:
  no-passport: error                      # a level, or off
  retry-budget: {level: warning, seconds: 30}   # a level and the rule's options
ignore:                                   # files (globs) whose lint findings are not wanted
- legacy/**
fail_on: error                            # error | warning: what makes the exit code 4
env_prefixes: [DECK_, SHOP_]              # what ${{ env "X" }} and !env may name; without it anything
schemas: kong-schemas                     # a folder that `kgate schema pull` wrote
plugins: [my-plugin]                      # names of own plugins that the nodes have
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, NamedTuple

from decl.findings import ERROR, WARNING, Level

FILE_NAME: Final = ".kgate.yaml"
_LEVELS: Final = (ERROR, WARNING, "off")
_KEYS: Final = ("rules", "ignore", "fail_on", "env_prefixes", "schemas", "plugins")

Chosen = Literal["error", "warning", "off"]


class Settings(NamedTuple):
    """The parsed file. levels and options are by rule; `schemas` is a folder, relative to `.kgate.yaml`."""

    levels: Mapping[str, Chosen] = {}
    options: Mapping[str, Mapping[str, Any]] = {}
    ignore: tuple[str, ...] = ()
    fail_on: Level = ERROR
    env_prefixes: tuple[str, ...] = ()
    schemas: str | None = None
    plugins: tuple[str, ...] = ()

    def ignores(self, file: str) -> bool:
        """Whether lint findings in a file are not wanted. `**` stands for any folders."""
        return any(fnmatchcase(file, pattern) or fnmatchcase(file, f"*/{pattern}") for pattern in self.ignore)

    def allows_variable(self, name: str) -> bool:
        """Whether a file may read an environment variable."""
        return not self.env_prefixes or name.startswith(self.env_prefixes)


def parse(document: Any, rules: Mapping[str, Mapping[str, Any]]) -> Settings:
    """The settings of a parsed `.kgate.yaml`. rules: the options that each rule has, with their defaults.

    Raises ValueError naming the field.
    """
    if document is None:
        return Settings()
    if not isinstance(document, dict):
        raise ValueError("expected a map with rules, ignore, fail_on, env_prefixes, schemas or plugins")
    _known(document, _KEYS, "")
    levels: dict[str, Chosen] = {}
    options: dict[str, Mapping[str, Any]] = {}
    for name, value in _map(document, "rules").items():
        _known({name: 0}, rules, "rules.")
        own = dict(value) if isinstance(value, dict) else {"level": value}
        level = own.pop("level", None)
        if level is not None:
            if level not in _LEVELS:
                raise ValueError(f"rules.{name}: {level!r} is no level; write error, warning or off")
            levels[name] = level
        _known(own, rules[name], f"rules.{name}.")
        for key, option in own.items():
            if type(option) is not type(rules[name][key]):
                kind = type(rules[name][key]).__name__
                raise ValueError(f"rules.{name}.{key}: expected {kind}, found {type(option).__name__}")
        options[name] = own
    fail_on = document.get("fail_on", ERROR)
    if fail_on not in (ERROR, WARNING):
        raise ValueError(f"fail_on: expected error or warning, found {fail_on!r}")
    folder = document.get("schemas")
    if folder is not None and not isinstance(folder, str):
        raise ValueError("schemas: expected the name of a folder")
    return Settings(
        levels,
        options,
        _texts(document, "ignore"),
        fail_on,
        _texts(document, "env_prefixes"),
        folder,
        _texts(document, "plugins"),
    )


def _known(found: Iterable[str], known: Iterable[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise ValueError(f"{where}{name}: not known; known are {', '.join(sorted(known))}")


def _map(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected a map")
    return value


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name}: expected a list of texts")
    return tuple(value)
