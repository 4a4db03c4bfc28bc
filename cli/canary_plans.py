"""The canaries that the files plan: where each stands and what its plugin's config says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cli.errors import FindingsError
from cli.options import DEFAULT_FILE, FILES_KEY

if TYPE_CHECKING:
    # a command that needs no files must not pay for reading them
    from decl.model import Plugin
    from decl.project import Project

CANARY = "canary-router"


class Plans(NamedTuple):
    """The plugins of each canary by its name. `project` is what the files say."""

    project: Project
    by_name: Mapping[str, tuple[Plugin, ...]]


def files_named(ctx: click.Context, files: tuple[Path, ...]) -> bool:
    """Whether somebody named files by -f."""
    return bool(files or ctx.find_root().ensure_object(dict).get(FILES_KEY))


def read_plans(ctx: click.Context, files: tuple[Path, ...], must: bool = False) -> Plans | None:
    """The canaries in the files named, or in gateway.yaml of the working directory.

    None when no file was named and gateway.yaml is not there or has errors, unless `must`. Raises FindingsError
    for named files that have errors, UsageError for those that cannot be read.
    """
    named = files_named(ctx, files)
    if not named and not must and not Path(DEFAULT_FILE).is_file():
        return None
    from cli.files import read_project

    project = read_project(ctx, files)
    if project.gateway is None:
        if not named and not must:
            return None
        first = next((str(found) for found in project.findings if found.level == "error"), "errors")
        raise FindingsError(f"the files have errors, the first is {first}; see kgate lint")
    found: dict[str, dict[Any, Plugin]] = {}
    for _, _, plugin in project.gateway.all_plugins():
        if plugin.name == CANARY and isinstance(plugin.config.get("name"), str):
            # a tenant's plugin stands in each of its services, but once in the file
            found.setdefault(plugin.config["name"], {})[plugin.path] = plugin
    return Plans(project, {name: tuple(plugins.values()) for name, plugins in found.items()})


def unknown(name: str, plans: Plans | None, more: str = "") -> FindingsError:
    """The error for a name that nobody knows. more: what else can be done without a file."""
    if plans is None:
        return FindingsError(
            f"canary {name!r} is not known: it has no override, and there is no file to look it up in; "
            f"name the file with -f{more}"
        )
    known = ", ".join(sorted(plans.by_name)) or "none"
    return FindingsError(f"canary {name!r} is not known: the files have {known}")
