"""The whole way from texts to an expanded, checked gateway: load, substitute, validate, build, expand, lint.

    texts -> load -> substitute -> validate -> build -> expand -> lint -> Project

Pure but for the garbage collector, which is paused: loading makes hundreds of thousands of objects that all
live until the end, and looking for garbage among them takes longer than all else.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from decl.body_files import refer
from decl.build import build
from decl.findings import ERROR, Finding, Path, Problem, has_errors, tidy
from decl.late import MASK
from decl.lint import REFUSED, RULES, Found, comments, lint
from decl.lint.hit import Fix
from decl.lint.view import State
from decl.load import Text, load
from decl.model import Gateway
from decl.pack import Pack
from decl.plugin_configs import shared_configs
from decl.secret_fields import literal_secrets
from decl.settings import Settings
from decl.source import Sources
from decl.substitute import Substituted, substitute
from decl.tenants import expand
from decl.validate import validate
from decl.validate.late_values import check_late_values


class Project(NamedTuple):
    """What the files say. `gateway` is None when there are errors: nothing may be made of it then. `fixes` are
    the repairs of findings that have a safe one; `texts` are the files, by name."""

    gateway: Gateway | None
    findings: tuple[Finding, ...]
    sources: Sources
    fixes: tuple[tuple[Finding, Fix], ...] = ()
    texts: Mapping[str, bytes] = {}
    secrets: frozenset[str] = frozenset()
    """With findings: the secrets that stand in the files, for whoever shows lines of them."""


class Options(NamedTuple):
    """How to look at files: the settings, the schemas of plugins, the date (YYYY-MM-DD, "" for none), what the
    control state says, and whether all lint rules are wanted or only those about what stock Kong refuses."""

    settings: Settings = Settings()
    pack: Pack = Pack()
    today: str = ""
    state: State | None = None
    rules: bool = True


def open_project(texts: Iterable[Text], env: Mapping[str, str], options: Options | None = None) -> Project:
    """Read the texts and find all that is wrong in them; env is what `${{ env "X" }}` sees."""
    options = options or Options()
    settings = options.settings
    with _gc_paused():
        texts = tuple(texts)
        loaded = load(texts)
        document = loaded.document
        late = loaded.late
        if any(b"file:" in text.content or b'"file"' in text.content for text in texts):
            late = refer(document, loaded.sources) or late
        problems: list[Problem] = []
        substituted: Substituted | None = None
        if "_plugin_configs" in document:
            document, problems = shared_configs(document)
        if any(b"${{" in text.content for text in texts):
            substituted = substitute(document, env, settings.allows_variable)
            document = substituted.document
            problems += substituted.problems
        if late:
            problems += check_late_values(document, settings.allows_variable)
        unknown = {problem.path for problem in problems}
        invalid = validate(document, loaded.complete, options.pack.checker)
        replaced: set[Path] = set()
        if substituted is not None:
            replaced = substituted.replaced
            if substituted.as_text(p.path for p in invalid if p.rule in ("wrong-type", "plugin-config")):
                invalid = validate(document, loaded.complete, options.pack.checker)
        for problem in invalid:
            if problem.path not in unknown:
                problems.append(_masked(problem) if problem.path in replaced else problem)
        sound = loaded.complete and not has_errors(loaded.findings)
        gateway = None
        hits: list[Found] = []
        if loaded.complete:
            remaining = _sound_part(document, problems)
            if remaining is not None:
                gateway = replace(expand(build(remaining)), late=late)
                whole = remaining is document
                wanted = RULES if options.rules else REFUSED
                found = lint(
                    gateway,
                    settings,
                    loaded.sources,
                    options.today,
                    options.state,
                    options.pack.names,
                    wanted,
                )
                hits = [hit for hit in found if whole or hit.problem.level == ERROR]
        if substituted is not None:
            hits = [_without(hit, substituted.values) for hit in hits]
        linted, fixes = _wanted(hits, texts, loaded.sources, settings)
        findings = tidy((*loaded.findings, *map(loaded.sources.locate, problems), *linted))
        usable = sound and not has_errors(findings)
        contents = {text.name: text.content for text in texts}
        secrets = literal_secrets(loaded.document) if findings else frozenset[str]()
        return Project(gateway if usable else None, findings, loaded.sources, tuple(fixes), contents, secrets)


def _wanted(
    hits: list[Found], texts: tuple[Text, ...], sources: Sources, settings: Settings
) -> tuple[list[Finding], list[tuple[Finding, Fix]]]:
    """The findings of lint that neither a comment nor the settings switch off, and their repairs."""
    disabled = {text.name: comments.read(text.name, text.content, RULES) for text in texts}
    findings = [found for off in disabled.values() for found in off.findings]
    fixes = []
    for hit in hits:
        finding = sources.locate(hit.problem)
        off = disabled.get(finding.file)
        if settings.ignores(finding.file) or (off is not None and off.spans and off.covers(finding)):
            continue
        findings.append(finding)
        if hit.fix is not None:
            fixes.append((finding, hit.fix))
    return findings, fixes


def _without(hit: Found, values: set[str]) -> Found:
    """A hit that quotes no value of the environment."""
    message = hit.problem.message
    for value in sorted(values, key=len, reverse=True):
        message = re.sub(re.escape(value), MASK, message, flags=re.IGNORECASE)
    return hit._replace(problem=hit.problem._replace(message=message))


def _masked(problem: Problem) -> Problem:
    """A value from the environment may be a secret: the message must not quote it."""
    if problem.rule in ("plugin-config", "kong-check"):
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
    gc.unfreeze()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was made is there to stay: the next collection need not look through it
        if enabled:
            gc.enable()
