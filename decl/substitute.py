r"""Environment variables in the file: `${{ env "NAME" }}`, as decK writes them.

They are replaced in parsed values, not in the text, so a value can never change the document's structure.
The result is text; `${{ env "PORT" | toInt }}`, `| toFloat` and `| toBool` give a value of another type where
the expression is all of the value, and so does one without quotes and pipe whose variable holds a number, true or
false: decK replaces before it parses. Whoever knows that the field takes text puts the text back (`as_text`).
`| indent N` is for decK's way of replacing and does nothing. A variable that is not set is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from decl.construct import Unquoted
from decl.findings import Path, Problem
from decl.late import Secret
from decl.scalars import plain

_EXPRESSION = re.compile(
    r'\$\{\{\s*(?:env\s+"([A-Za-z_][A-Za-z0-9_]*)"\s*(?:\|\s*indent\s+\d+\s*)?(?:\|\s*(\w+)\s*)?|(.*?))\}\}'
)

_SHORTEST = 4

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_PIPES: dict[str, Callable[[str], Any]] = {
    "toInt": int,
    "toFloat": float,
    "toBool": lambda text: _BOOLEANS[text.lower()],
}


class _Allowed(NamedTuple):
    """The environment, and which variables of it a file may read."""

    values: Mapping[str, str]
    allows: Callable[[str], bool]


class Substituted(NamedTuple):
    """The document with its expressions replaced, what could not be, and the places of replaced values:
    they may be secret, so messages must not show them. guessed: the texts of those that look like numbers."""

    document: dict[str, Any]
    problems: list[Problem]
    replaced: set[Path]
    guessed: dict[Path, Secret]
    values: set[str]
    """What was read from the environment, but for texts too short to be told apart."""

    def as_text(self, paths: Iterable[Path]) -> bool:
        """Take guessed values at these places for text after all; whether there was one."""
        found = [path for path in paths if path in self.guessed]
        for path in found:
            holder: Any = self.document
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = self.guessed.pop(path)
        return bool(found)


def substitute(
    document: dict[str, Any], env: Mapping[str, str], allows: Callable[[str], bool] = lambda _: True
) -> Substituted:
    """Replace the expressions in all values of a document; texts become decl.late.Secret.

    allows: whether a file may read a variable.
    """
    result = Substituted({}, [], set(), {}, set())
    visible = _Allowed(env, allows)
    return result._replace(document=_substituted(document, (), visible, result))


def _substituted(value: Any, path: Path, env: _Allowed, result: Substituted) -> Any:
    if isinstance(value, str):
        if "${{" not in value:
            return value
        result.replaced.add(path)
        found = _text(value, path, env, result)
        if value.__class__ is Unquoted and found.__class__ is Secret and _EXPRESSION.fullmatch(value):
            typed = plain(str.__str__(found))
            if isinstance(typed, bool | int | float):
                result.guessed[path] = found
                return typed
        return found
    if isinstance(value, dict):
        return {key: _substituted(item, (*path, key), env, result) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, (*path, index), env, result) for index, item in enumerate(value)]
    return value


def _text(text: str, path: Path, env: _Allowed, result: Substituted) -> Any:
    def one(match: re.Match[str]) -> Any:
        name, pipe, _ = match.groups()
        problem = _problem(match, env)
        if problem:
            result.problems.append(Problem(path, *problem))
            return text if match.group() == text else ""
        value = env.values[name]
        if len(value) >= _SHORTEST:
            result.values.add(value)
        return _PIPES[pipe](value) if pipe else Secret(value)

    whole = _EXPRESSION.fullmatch(text)
    if whole and text.count("${{") == 1:
        return one(whole)
    return Secret(_EXPRESSION.sub(lambda match: str.__str__(str(one(match))), text))


def _problem(match: re.Match[str], env: _Allowed) -> tuple[str, str] | None:
    """Rule and message of what is wrong with an expression. Values are never shown: they may be secret."""
    name, pipe, other = match.groups()
    if name is None:
        return "bad-expression", f'{other.strip()!r} is not understood; write ${{{{ env "NAME" }}}}'
    if not env.allows(name):
        return "forbidden-variable", f"{name} begins with none of env_prefixes in .kgate.yaml"
    if name not in env.values:
        return "unset-variable", f"environment variable {name} is not set"
    if pipe and pipe not in _PIPES:
        return "bad-expression", f"unknown function {pipe!r}; known are {', '.join(_PIPES)}"
    if pipe:
        try:
            _PIPES[pipe](env.values[name])
        except (ValueError, KeyError):
            return "bad-expression", f"environment variable {name} does not fit {pipe}"
    return None
