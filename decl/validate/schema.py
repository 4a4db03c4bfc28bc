"""Check values against a JSON Schema and say in plain words what is wrong where."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

import schemas
from decl.findings import Path, Problem
from decl.late import Late
from decl.secret_fields import is_secret
from decl.validate.fast import Check, Compiler

_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a map",
    "array": "a list",
    "null": "null",
}


class Checker(NamedTuple):
    """A compiled schema: the quick answer, and the explanation of a no. more: what else must hold of a value that
    the schema takes."""

    accepts: Check
    explain: Draft202012Validator
    more: Callable[[Any, Path], Iterator[Problem]] | None = None

    def problems(self, value: Any, path: Path) -> Iterator[Problem]:
        """What is wrong with a value that stands at `path`."""
        if self.accepts(value):
            if self.more is not None:
                yield from self.more(value, path)
            return
        # of a reference to a secret only its type can be told
        errors = [
            error
            for error in self.explain.iter_errors(value)
            if error.validator == "type" or not isinstance(error.instance, Late)
        ]
        # of a value with the wrong type nothing else needs to be said
        mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
        for error in errors:
            if error.validator == "type" or tuple(error.absolute_path) not in mistyped:
                yield from map(_discreet, _problems(error, path))


def checker(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Checker:
    """The checker of a schema whose `$ref`s point into root's `$defs`."""
    root = schema if root is None else root
    whole = {**schema, "$defs": root.get("$defs", {})}
    return Checker(Compiler(root).compile(schema), Draft202012Validator(whole))


@cache
def plugin_checker(name: str) -> Checker | None:
    """The checker of a plugin's config, None when the plugin is not known."""
    schema = schemas.plugin(name)
    return None if schema is None else checker(schema)


@cache
def _gateway_checkers() -> tuple[Checker, dict[str, Checker], dict[str, Checker]]:
    """The checker of the document without its entities, one for the entities of each list, and one for each map in
    `_info.defaults`."""
    root = schemas.gateway()
    outline = dict(root["properties"])
    entities = {}
    for name, schema in root["properties"].items():
        if "$ref" in schema.get("items", {}):
            outline[name] = {"type": "array"}
            entities[name] = checker(schema["items"], root)
    defaults = {}
    for name in root["properties"]["_info"]["properties"]["defaults"]["properties"]:
        fields = {key: root["$defs"][name][key] for key in ("type", "additionalProperties", "properties")}
        defaults[name] = checker(fields, root)
    return checker({**root, "properties": outline}, root), entities, defaults


def check_schema(document: dict[str, Any]) -> Iterator[Problem]:
    """Check the document, entity by entity."""
    outline, entities, defaults = _gateway_checkers()
    yield from outline.problems(document, ())
    info = document.get("_info")
    given = info.get("defaults") if isinstance(info, dict) else None
    for name, values in given.items() if isinstance(given, dict) else ():
        if name in defaults and isinstance(values, dict):
            yield from defaults[name].problems(values, ("_info", "defaults", name))
    for name, entity_checker in entities.items():
        items = document.get(name)
        if isinstance(items, list):
            for index, item in enumerate(items):
                yield from entity_checker.problems(item, (name, index))


def _discreet(problem: Problem) -> Problem:
    """Without the value, where the field is a secret."""
    names = [step for step in problem.path if isinstance(step, str)]
    if not any(is_secret(kind, names[-1]) for kind in names[:-1]):
        return problem
    message = re.split(r", found (?!text|a )|; put it in quotes", problem.message)[0]
    return problem._replace(message=message)


def _problems(error: Any, base: Path) -> Iterator[Problem]:
    path = (*base, *error.absolute_path)
    keyword = str(error.validator)
    if keyword == "additionalProperties":
        known = list(error.schema.get("properties", ()))
        for name in error.instance:
            if name not in known:
                yield Problem((*path, name), "unknown-field", _unknown(name, known), at_key=True)
    elif keyword == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        # jsonschema reports each missing field on its own: name it by its message
        name = next((name for name in missing if error.message.startswith(repr(name))), missing[0])
        yield Problem(path, "missing-field", f"field {name!r} is missing")
    elif keyword == "anyOf":
        yield _no_option(error, path)
    elif keyword == "type":
        yield Problem(path, "wrong-type", _field(path) + _wrong_type(error, path))
    elif (
        isinstance(error.instance, str)
        and error.parent is None
        and "propertyNames" in error.absolute_schema_path
    ):
        yield Problem((*path, error.instance), "wrong-value", _wrong(error), at_key=True)
    else:
        yield Problem(path, "wrong-value", _field(path) + _wrong(error))


def _field(path: Path) -> str:
    """The field's name for the beginning of a message: `paths[0]: `."""
    text = ""
    for step in reversed(path):
        if isinstance(step, str):
            return f"{step}{text}: "
        text = f"[{step}]{text}"
    return ""


def _no_option(error: Any, path: Path) -> Problem:
    """None of several forms: the form of the value's own type says best what is wrong."""
    options = error.validator_value
    if all(option.keys() == {"required"} for option in options):
        names = [option["required"][0] for option in options]
        return Problem(path, "missing-field", f"one of {', '.join(names)} is needed")
    for inner in error.context or ():
        if inner.validator != "type":
            return Problem(path, "wrong-value", _field(path) + _wrong(inner))
    types = " or ".join(_TYPE_NAMES[option["type"]] for option in options)
    return Problem(path, "wrong-type", f"{_field(path)}expected {types}")


_ELSEWHERE = {
    **dict.fromkeys(
        (
            "partials",
            "custom_entities",
            "licenses",
            "rbac_roles",
            "service_packages",
            "custom_plugins",
            "cloned_plugins",
        ),
        "stock Kong has none; it is of Kong Enterprise or Konnect",
    ),
    **dict.fromkeys(
        ("consumer_group_policy_overrides", "skip_hash_for_basic_auth", "consumer_group", "rbac_users"),
        "it is about Kong Enterprise",
    ),
    "_konnect": "it is about Konnect, which kgate does not manage",
    "default_lookup_tags": "kgate has no such look-up; name the files of both owners with -f",
    "filter_chains": "kgate does not manage WebAssembly filters",
    "expression": "write hosts, paths and methods; kgate has no router_flavor = expressions",
}
"""Fields that decK knows, and why kgate does not."""


def _unknown(name: str, known: list[str]) -> str:
    if name in _ELSEWHERE:
        return f"unknown field {name!r}: {_ELSEWHERE[name]}"
    close = difflib.get_close_matches(name, known, 1)
    return f"unknown field {name!r}" + (f", did you mean {close[0]!r}?" if close else "")


def _wrong_type(error: Any, path: Path) -> str:
    expected = error.validator_value
    names = [expected] if isinstance(expected, str) else [name for name in expected if name != "null"]
    found = next(
        (
            text
            for name, text in _TYPE_NAMES.items()
            if Draft202012Validator.TYPE_CHECKER.is_type(error.instance, name)
        ),
        "something else",
    )
    hint = ""
    number = isinstance(error.instance, int | float) and not isinstance(error.instance, bool)
    if names == ["string"] and number and path:
        hint = f'; put it in quotes: "{error.instance}"'
    elif names == ["boolean"] and str(error.instance).lower() in ("yes", "no", "on", "off"):
        hint = f"; {error.instance} is text in YAML 1.2, write true or false"
    return f"expected {' or '.join(_TYPE_NAMES[name] for name in names)}, found {found}{hint}"


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "..."


_WORDS: dict[str, Callable[[Any], str]] = {
    "enum": lambda values: "expected one of " + ", ".join(str(v) for v in values if v is not None),
    "const": lambda value: f"expected {_shown(value)}",
    "minimum": lambda limit: f"expected {limit} or more",
    "maximum": lambda limit: f"expected {limit} or less",
    "exclusiveMinimum": lambda limit: f"expected more than {limit}",
    "minLength": lambda limit: "must not be empty" if limit == 1 else f"expected {limit} characters or more",
    "maxLength": lambda limit: f"expected {limit} characters or less",
    "minItems": lambda limit: "must not be empty" if limit == 1 else f"expected {limit} items or more",
    "maxItems": lambda limit: f"expected {limit} items or less",
    "minProperties": lambda limit: "must not be empty" if limit == 1 else f"expected {limit} fields or more",
    "pattern": lambda pattern: f"does not match {pattern}",
}


def _wrong(error: Any) -> str:
    keyword = str(error.validator)
    words = _WORDS[keyword](error.validator_value)
    if keyword == "pattern" and "description" in error.schema:
        words = f"expected {error.schema['description']}"
    return (
        words
        if keyword.endswith(("Length", "Items", "Properties"))
        else f"{words}, found {_shown(error.instance)}"
    )
