"""The checker of a plugin from Kong's own schema: its fields as JSON Schema, then the checks over several fields.

The checks mirror `Schema.entity_checkers` of kong/db/schema/init.lua and see the config as Kong does, with defaults
filled in and old names moved. Checks that are Lua code are in decl.validate.lua_checks for the plugins that come with
Kong; of others (`custom_entity_check`, patterns) they are left to Kong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from decl import kong_schema
from decl.findings import Path, Problem
from decl.late import is_marked
from decl.server_schema import Fields, Schemas, compiled
from decl.validate import lua_checks
from decl.validate.schema import Checker, checker

_KNOWN = frozenset(("eq", "ne", "one_of", "not_one_of", "required", "gt", "contains"))


def kong_checker(schema: Any, name: str = "") -> Checker:
    """The checker of `config` by the schema of the plugin `name`. Raises ValueError when it is none."""
    config = config_of(schema)
    fields, old = config.get("fields"), config.get("shorthand_fields")
    shape = kong_schema.record(
        fields if isinstance(fields, list) else (), old if isinstance(old, list) else ()
    )
    found = checker(shape)
    checks = _Checks(schema, name, found)
    return found._replace(more=checks.problems) if checks.needed else found


def config_of(schema: Any) -> Mapping[str, Any]:
    """The field `config` of a plugin's schema. Raises ValueError when it has none."""
    for entry in schema.get("fields", ()) if isinstance(schema, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("config"), dict):
            found: Mapping[str, Any] = entry["config"]
            return found
    raise ValueError("not a plugin's schema: it has no field config")


class _Checks:
    def __init__(self, schema: Mapping[str, Any], name: str, shape: Checker) -> None:
        self._name, self._shape = name, shape
        self._schemas = Schemas(lambda name: schema if name == "plugins/x" else None)
        self._root: dict[str, Any] = {
            "fields": compiled(schema["fields"]),
            "entity_checks": schema.get("entity_checks"),
        }
        self._old_names = frozenset(_old_names(self._root))
        self.needed = bool(self._old_names) or _has_checks(self._root) or lua_checks.needed(name)

    def problems(self, config: Any, path: Path) -> Iterator[Problem]:
        """What is wrong with a config whose fields are right one by one; path is the config's."""
        held = self._schemas.filled("plugins", {"name": "x", "config": config})
        filled = held.get("config") or {}
        if self._old_names and _names_any(config, self._old_names):
            yield from _mismatches(self._root["fields"].get("config") or {}, config, path)
            # what an old name moved is checked once more under the new one, whose bounds may be tighter
            yield from self._shape.problems(filled, path)
        # the checks of the plugin name `config.x`: their root is the plugin
        yield from _record(self._root, held, path[:-1])
        yield from lua_checks.check(self._name, filled, path)


def _has_checks(field: Mapping[str, Any]) -> bool:
    return bool(field.get("entity_checks")) or any(_has_checks(inner) for inner in _inner(field))


def _old_names(field: Mapping[str, Any]) -> Iterator[str]:
    yield from field.get("shorthand_fields") or ()
    for inner in _inner(field):
        yield from _old_names(inner)


def _names_any(value: Any, names: frozenset[str]) -> bool:
    if isinstance(value, Mapping):
        return not names.isdisjoint(value) or any(_names_any(item, names) for item in value.values())
    return isinstance(value, list) and any(_names_any(item, names) for item in value)


def _inner(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The fields of a record, what a list or a map holds."""
    below = [*(field.get("fields") or {}).values(), field.get("elements"), field.get("values")]
    return [inner for inner in below if isinstance(inner, Mapping)]


def _record(field: Mapping[str, Any], value: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    fields: Fields = field.get("fields") or {}
    for entry in field.get("entity_checks") or ():
        for name, argument in entry.items():
            check = _CHECKS.get(name)
            wrong = check(fields, value, argument) if check is not None else None
            if wrong is not None:
                at, message = wrong
                yield Problem((*path, *at.split(".")) if at else path, "plugin-config", message)
    for name, inner in fields.items():
        yield from _below(inner, value.get(name), (*path, name))


def _mismatches(field: Mapping[str, Any], config: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """Old names of a config whose new ones are there too, with other values: a DB-less node answers 500."""
    for name, old in (field.get("shorthand_fields") or {}).items():
        for new in (old.get("deprecation") or {}).get("replaced_with") or ():
            new_name = ".".join(new.get("path") or ())
            given = _get(config, new_name)
            if config.get(name) is not None and given is not None and given != config[name]:
                yield Problem(
                    (*path, name),
                    "plugin-config",
                    f"{name} is the old name of {new_name}, which has another value",
                )


def _below(field: Mapping[str, Any], value: Any, path: Path) -> Iterator[Problem]:
    """The records in a value: itself, the items of a list, the values of a map."""
    kind = field.get("type")
    if kind == "record" and isinstance(value, Mapping):
        yield from _record(field, value, path)
    elif kind in ("array", "set") and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _below(field.get("elements") or {}, item, (*path, index))
    elif kind == "map" and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _below(field.get("values") or {}, item, (*path, key))


def _get(value: Any, name: str) -> Any:
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _field(fields: Fields, name: str) -> Mapping[str, Any]:
    head, _, rest = name.partition(".")
    found = fields.get(head) or {}
    return _field(found.get("fields") or {}, rest) if rest else found


def _is_there(value: Any, name: str) -> bool:
    return _get(value, name) not in (None, "", [], {})


def _names(names: Sequence[str]) -> str:
    return ", ".join(name.removeprefix("config.") for name in names)


def _parent(names: Sequence[str]) -> str:
    return names[0].rpartition(".")[0]


Wrong = tuple[str, str] | None
"""The field to point at, dotted, and what is wrong with it."""


def _at_least_one(fields: Fields, value: Any, names: Sequence[str]) -> Wrong:
    if any(_is_there(value, name) for name in names):
        return None
    return _parent(names), f"one of {_names(names)} is needed"


def _only_one(fields: Fields, value: Any, names: Sequence[str]) -> Wrong:
    given = [name for name in names if _is_there(value, name)]
    if len(given) == 1:
        return None
    if not given:
        return _parent(names), f"one of {_names(names)} is needed"
    return given[1], f"only one of {_names(names)} may be given"


def _together(fields: Fields, value: Any, names: Sequence[str]) -> Wrong:
    given = [name for name in names if _is_there(value, name)]
    if len(given) in (0, len(names)):
        return None
    missing = [name for name in names if name not in given]
    return given[0], f"{_names(given)} needs {_names(missing)} too"


def _exclusive(fields: Fields, value: Any, names: Sequence[str]) -> Wrong:
    given = [name for name in names if _is_there(value, name)]
    return None if len(given) < 2 else (given[1], f"only one of {_names(names)} may be given")


def _exclusive_sets(fields: Fields, value: Any, argument: Mapping[str, Any]) -> Wrong:
    one, two = ([name for name in argument[key] if _is_there(value, name)] for key in ("set1", "set2"))
    return None if not (one and two) else (two[0], f"{_names(two)} cannot go together with {_names(one)}")


def _distinct(fields: Fields, value: Any, names: Sequence[str]) -> Wrong:
    given = [_get(value, name) for name in names if _is_there(value, name)]
    same = any(item in given[:number] for number, item in enumerate(given))
    return (names[-1], f"{_names(names)} must differ") if same else None


def _matches(field: Mapping[str, Any], match: Mapping[str, Any], value: Any) -> bool | None:
    """Whether a value is what a check asks for, None when only Kong can tell."""
    if is_marked(value) or not match.keys() <= _KNOWN | {"err"}:
        return None
    if value is None:
        return match.get("eq") is None and not {**field, **match}.get("required")
    if "eq" in match and value != match["eq"]:
        return False
    if "one_of" in match and value not in match["one_of"]:
        return False
    if "ne" in match and value == match["ne"]:
        return False
    if "gt" in match and not (isinstance(value, int | float) and value > match["gt"]):
        return False
    if "contains" in match and not (isinstance(value, list) and match["contains"] in value):
        return False
    return value not in match.get("not_one_of", ())


def _conditional(fields: Fields, value: Any, rule: Mapping[str, Any]) -> Wrong:
    cause, then = rule["if_field"], rule["then_field"]
    if not _matches(_field(fields, cause), rule["if_match"], _get(value, cause)):
        return None
    if _matches(_field(fields, then), rule["then_match"], _get(value, then)) in (True, None):
        return None
    given = _names([f"{cause} {_shown(_get(value, cause))}"])
    return then, f"{_names([then])} {_demand(rule['then_match'])} with {given}"


def _conditional_one(fields: Fields, value: Any, rule: Mapping[str, Any]) -> Wrong:
    cause = rule["if_field"]
    held = _get(value, cause)
    if held is None:
        return None
    matches = _matches(_field(fields, cause), rule["if_match"], held)
    names = rule["then_at_least_one_of"]
    if matches is False and "else_match" in rule:
        matches = _matches(_field(fields, cause), rule["else_match"], held)
        names = rule["else_then_at_least_one_of"]
    if not matches or any(_is_there(value, name) for name in names):
        return None
    one = "is" if len(names) == 1 else "one of them is"
    return _parent(names), f"{_names(names)}: {one} needed with {_names([cause])} {_shown(held)}"


def _demand(match: Mapping[str, Any]) -> str:
    if match.get("required"):
        return "is needed"
    if "eq" in match:
        return f"must be {_shown(match['eq'])}"
    if "contains" in match:
        return f"must contain {_shown(match['contains'])}"
    if "one_of" in match:
        return "must be one of " + ", ".join(map(_shown, match["one_of"]))
    return "must be another"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


_CHECKS: dict[str, Callable[[Fields, Any, Any], Wrong]] = {
    "at_least_one_of": _at_least_one,
    "only_one_of": _only_one,
    "mutually_required": _together,
    "mutually_exclusive": _exclusive,
    "mutually_exclusive_sets": _exclusive_sets,
    "distinct": _distinct,
    "conditional": _conditional,
    "conditional_at_least_one_of": _conditional_one,
}
