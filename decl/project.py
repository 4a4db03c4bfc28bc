"""The whole way from texts to an expanded, checked gateway: load, substitute, validate, build, expand, lint.

    texts -> load -> substitute -> validate -> build -> expand -> lint -> Project

Pure but for the garbage collector, which is paused: loading makes hundreds of thousands of objects that all
live until the end, and looking for garbage among them takes longer than all else.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from decl.build import build
from decl.findings import ERROR, Finding, Path, Problem, has_errors, tidy
from decl.lint import lint
from decl.load import Text, load
from decl.model import Gateway
from decl.source import Sources
from decl.substitute import substitute
from decl.tenants import expand
from decl.validate import validate


class Project(NamedTuple):
    """What the files say. `gateway` is None when there are errors: nothing may be made of it then."""

    gateway: Gateway | None
    findings: tuple[Finding, ...]
    sources: Sources


def open_project(texts: Iterable[Text], env: Mapping[str, str]) -> Project:
    """Read the texts and find all that is wrong in them; env is what `${{ env "X" }}` sees."""
    with _gc_paused():
        texts = tuple(texts)
        loaded = load(texts)
        document = loaded.document
        problems: list[Problem] = []
        replaced: set[Path] = set()
        if any(b"${{" in text.content for text in texts):
            document, problems, replaced = substitute(document, env)
        unknown = {problem.path for problem in problems}
        for problem in validate(document, loaded.complete):
            if problem.path not in unknown:
                problems.append(_masked(problem) if problem.path in replaced else problem)
        sound = loaded.complete and not has_errors(loaded.findings)
        gateway = None
        if loaded.complete:
            remaining = _sound_part(document, problems)
            if remaining is not None:
                gateway = expand(build(remaining))
                whole = remaining is document
                problems += (hit for hit in lint(gateway) if whole or hit.level == ERROR)
        findings = tidy((*loaded.findings, *map(loaded.sources.locate, problems)))
        usable = sound and not has_errors(findings)
        return Project(gateway if usable else None, findings, loaded.sources)


def _masked(problem: Problem) -> Problem:
    """A value from the environment may be a secret: the message must not quote it."""
    if problem.rule == "plugin-config":
        return problem._replace(message="the value of the environment variable is not valid here")
    return problem._replace(message=problem.message.partition(", found ")[0])


def _sound_part(document: dict[str, Any], problems: list[Problem]) -> dict[str, Any] | None:
    """The document without the services, routes and the like that have errors, for lint to look at the rest.

    None when the errors touch what other entities depend on: lint would see ghosts.
    """
    broken: dict[str, set[int]] = {}
    for problem in problems:
        if problem.level != ERROR:
            continue
        top, index, *_ = (*problem.path, None, None)
        if top not in ("services", "routes", "upstreams", "consumers") or not isinstance(index, int):
            return None
        broken.setdefault(str(top), set()).add(index)
    if not broken:
        return document
    # an index is an entity's place in the file: keep the places of the others
    return {
        kind: [None if index in broken[kind] else item for index, item in enumerate(items)]
        if kind in broken
        else items
        for kind, items in document.items()
    }


@contextmanager
def _gc_paused() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
