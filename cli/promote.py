"""Writes what an override says into the files that plan the canary: percent, ramp and users, and not a character
more."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cli import canary_ramp
from cli.canary_plans import CANARY, Plans
from cli.errors import FailedError, FindingsError
from cli.yaml_edit import Span, applied, find_node, set_items, set_key
from decl.findings import Path as NodePath
from decl.load import Text
from decl.project import open_project
from decl.source import SourceFile
from kong_plugins.state import ramps
from kong_plugins.state.base import CanaryOverride


class Edit(NamedTuple):
    """One file's new text, and the change as a unified diff."""

    file: str
    text: str
    diff: str


def edits(override: CanaryOverride, plans: Plans) -> list[Edit]:
    """The edits that make the override permanent; files that say it already are left out.

    Raises FindingsError for an override that no plan can say, and when the edit would not give what it should.
    """
    if override.aborted or override.paused:
        state = "aborted" if override.aborted else "paused"
        raise FindingsError(f"canary {override.name} is {state}: only a running one can be promoted")
    if override.ramp is not None and override.ramp.get("held") is not None:
        raise FindingsError(
            f"the ramp of canary {override.name} is paused: kgate canary ramp {override.name} --resume, or set a "
            "percent"
        )
    changed = {}
    texts = {file.name: _text(file.name) for file in plans.project.sources.files}
    for file in plans.project.sources.files:
        spans: list[Span] = []
        for plugin in plans.by_name[override.name]:
            node = _config_node(file, plugin.path)
            if node is not None:
                spans += _spans(override, plugin.config, texts[file.name], node)
        if spans:
            # one config may stand in several places by an alias
            changed[file.name] = applied(texts[file.name], list(dict.fromkeys(spans)))
    _check(override, {**texts, **changed})
    return [Edit(name, text, _diff(name, texts[name], text)) for name, text in changed.items()]


def fixed_ramp(override: CanaryOverride, plans: Plans) -> dict[str, Any] | None:
    """Where the override is late on the plan's own ramp, and the plan is written with that start: the ramp as the
    override's own, which says the same before and after the push. Else it would be late twice until the reset, and
    users would leave the canary meanwhile. None where there is nothing to fix."""
    data = override.ramp
    planned = [plugin.config.get("ramp") for plugin in plans.by_name[override.name]]
    if data is None or data.get("points") is not None or not data.get("late") or override.percent is not None:
        return None
    ramp = planned[0]
    if not isinstance(ramp, Mapping) or any(each != ramp for each in planned):
        return None
    low, high = float(ramp.get("from") or 0), float(ramp["to"])
    points = ramps.make_points(low, high, ramps.duration(ramp["over"]), ramp.get("hold") or ())
    plan = {name: value for name, value in ramp.items() if name != "start"}
    start = ramps.moment(ramps.moment_text(ramps.moment(ramp.get("start")) + data["late"]))
    return {"points": points, "start": start, "held": None, "late": 0.0, "plan": plan}


def write(made: list[Edit]) -> None:
    """Write the files, each in one step. Raises FailedError."""
    for edit in made:
        path = Path(edit.file).resolve()
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(edit.text.encode("utf-8"))
            temporary.chmod(path.stat().st_mode & 0o777)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise FailedError(f"cannot write {edit.file}: {error.strerror}") from error


def _spans(
    override: CanaryOverride, config: Mapping[str, Any], text: str, node: yaml.MappingNode
) -> list[Span]:
    spans: list[Span] = []
    percent, ramp = _share(override, config)
    if (config.get("percent") or 0) != (percent or 0):
        spans.append(set_key(text, node, "percent", _number(percent or 0)))
    if config.get("ramp") != ramp:
        spans.append(set_key(text, node, "ramp", "null" if ramp is None else json.dumps(ramp)))
    if override.users is None and override.users_list is None:
        return spans
    # an override of one replaces both ways of naming users
    users, named = override.users or frozenset(), override.users_list
    if set(config.get("users") or ()) != users:
        spans += set_items(text, node, "users", sorted(users))
    if config.get("users_list") != named:
        spans.append(set_key(text, node, "users_list", "null" if named is None else json.dumps(named)))
    return spans


def _share(override: CanaryOverride, config: Mapping[str, Any]) -> tuple[float | None, Any]:
    """The plan's percent and ramp that say what the override says; never both."""
    data = override.ramp
    if data is not None and data.get("points") is not None:
        return None, canary_ramp.as_plan(data)
    if override.percent is not None:
        return override.percent, None
    planned = config.get("ramp")
    if data is not None and data.get("late") and isinstance(planned, Mapping):
        start = ramps.moment(planned.get("start")) + data["late"]
        return None, {**planned, "start": ramps.moment_text(start)}
    return config.get("percent"), planned


def _number(value: float) -> str:
    """Never with an exponent: YAML 1.1 reads 1e-05 as text."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _config_node(file: SourceFile, path: NodePath) -> yaml.MappingNode | None:
    """The node of the plugin's config, when it stands in this file. Lists of several files are one in the document:
    a path counts through all of them."""
    top, index, *rest = path
    if isinstance(index, int):
        index -= file.offsets.get(str(top), 0)
        if not 0 <= index < file.lengths.get(str(top), 0):
            return None
    node = find_node(file.root, (top, index, *rest, "config"))
    return node if isinstance(node, yaml.MappingNode) else None


def _text(name: str) -> str:
    try:
        return Path(name).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FailedError(f"{name}: cannot be read again: {error}") from error


def _check(override: CanaryOverride, texts: dict[str, str]) -> None:
    """The files must say afterwards what the override says, whatever tricks their YAML plays."""
    project = open_project([Text(name, text.encode("utf-8")) for name, text in texts.items()], os.environ)
    plugins = [] if project.gateway is None else [found[2] for found in project.gateway.all_plugins()]
    configs = [p.config for p in plugins if p.name == CANARY and p.config.get("name") == override.name]
    if not configs or not all(_says(config, override) for config in configs):
        raise FindingsError(
            f"canary {override.name}: its config cannot be edited in place; edit the file by hand"
        )


def _says(config: Mapping[str, Any], override: CanaryOverride) -> bool:
    data = override.ramp
    own = data is not None and data.get("points") is not None
    percent, ramp = _share(override, config)
    # a plan's own ramp that came late was moved, and would be moved once more
    if (own or override.percent is not None) and (
        (config.get("percent") or 0) != (percent or 0) or config.get("ramp") != ramp
    ):
        return False
    if override.users is None and override.users_list is None:
        return True
    users = set(config.get("users") or ())
    return users == (override.users or set()) and config.get("users_list") == override.users_list


def _diff(name: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"{name} (now)", f"{name} (promoted)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
