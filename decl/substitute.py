r"""Environment variables in the file: `${{ env "NAME" }}`, as decK writes them.

They are replaced in parsed values, not in the text, so a value can never change the document's structure.
The result is text; `${{ env "PORT" | toInt }}`, `| toFloat` and `| toBool` give a value of another type where
the expression is all of the value. A variable that is not set is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from decl.findings import Path, Problem

_EXPRESSION = re.compile(r'\$\{\{\s*(?:env\s+"([A-Za-z_][A-Za-z0-9_]*)"\s*(?:\|\s*(\w+)\s*)?|(.*?))\}\}')

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_PIPES: dict[str, Callable[[str], Any]] = {
    "toInt": int,
    "toFloat": float,
    "toBool": lambda text: _BOOLEANS[text.lower()],
}


def substitute(document: dict[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """The document with its expressions replaced, and what could not be."""
    problems: list[Problem] = []
    return _replace(document, (), env, problems), problems


def _replace(value: Any, path: Path, env: Mapping[str, str], problems: list[Problem]) -> Any:
    if isinstance(value, str):
        return _text(value, path, env, problems) if "${{" in value else value
    if isinstance(value, dict):
        return {key: _replace(item, (*path, key), env, problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, (*path, index), env, problems) for index, item in enumerate(value)]
    return value


def _text(text: str, path: Path, env: Mapping[str, str], problems: list[Problem]) -> Any:
    def one(match: re.Match[str]) -> Any:
        name, pipe, _ = match.groups()
        problem = _problem(match, env)
        if problem:
            problems.append(Problem(path, *problem))
            return text if match.group() == text else ""
        return _PIPES[pipe](env[name]) if pipe else env[name]

    whole = _EXPRESSION.fullmatch(text)
    if whole and text.count("${{") == 1:
        return one(whole)
    return _EXPRESSION.sub(lambda match: str(one(match)), text)


def _problem(match: re.Match[str], env: Mapping[str, str]) -> tuple[str, str] | None:
    """Rule and message of what is wrong with an expression. Values are never shown: they may be secret."""
    name, pipe, other = match.groups()
    if name is None:
        return "bad-expression", f'{other.strip()!r} is not understood; write ${{{{ env "NAME" }}}}'
    if name not in env:
        return "unset-variable", f"environment variable {name} is not set"
    if pipe and pipe not in _PIPES:
        return "bad-expression", f"unknown function {pipe!r}; known are {', '.join(_PIPES)}"
    if pipe:
        try:
            _PIPES[pipe](env[name])
        except (ValueError, KeyError):
            return "bad-expression", f"environment variable {name} does not fit {pipe}"
    return None
