"""Lua's patterns (Lua 5.1 manual, section 5.4.1) as regular expressions: Kong's schemas check texts by them."""

from __future__ import annotations

import re

_CLASSES = {
    "a": "A-Za-z",
    "c": r"\x00-\x1f\x7f",
    "d": "0-9",
    "l": "a-z",
    "p": r"!-/:-@\[-`{-~",
    "s": r"\t-\r ",
    "u": "A-Z",
    "w": "A-Za-z0-9",
    "x": "A-Fa-f0-9",
}
_REPEATS = {"*": "*", "+": "+", "?": "?", "-": "*?"}


def to_regex(pattern: str) -> str | None:
    """The regular expression, for `re.search`; None for a pattern with captures, `%b`, `%f` or the like."""
    out, rest = ["^"] if pattern.startswith("^") else [], pattern.removeprefix("^")
    while rest:
        if rest == "$":
            out.append(r"\Z")
            break
        item, rest = _item(rest)
        if item is None:
            return None
        out.append(item)
        if rest and rest[0] in _REPEATS:
            out.append(_REPEATS[rest[0]])
            rest = rest[1:]
    return "".join(out)


def _item(text: str) -> tuple[str | None, str]:
    """One character or class, and what is after it."""
    if text[0] == "[":
        return _set(text)
    if text[0] == "%":
        return _escaped(text[1:2], inside=False), text[2:]
    if text[0] in "()":
        return None, ""
    return (r"[\s\S]" if text[0] == "." else re.escape(text[0])), text[1:]


def _escaped(char: str, inside: bool) -> str | None:
    if char.isalnum() or not char:
        members = _CLASSES.get(char.lower())
        if members is None or (inside and char.isupper()):
            return None
        return members if inside else f"[{'^' * char.isupper()}{members}]"
    return re.escape(char)


def _set(text: str) -> tuple[str | None, str]:
    found = re.match(r"\[(\^?)(\]?(?:%.|[^\]%])*)\]", text, re.DOTALL)
    if found is None:
        return None, ""
    out, members = [], found[2]
    for part in re.findall(r"%.|.-[^\]]|.", members, re.DOTALL):
        if part[0] == "%":
            inner = _escaped(part[1], inside=True)
            if inner is None:
                return None, ""
            out.append(inner)
        elif len(part) == 3:
            out.append(f"{re.escape(part[0])}-{re.escape(part[2])}")
        else:
            out.append(re.escape(part))
    return f"[{found[1]}{''.join(out)}]", text[found.end() :]
