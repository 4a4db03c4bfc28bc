"""Plans: what a diff found, saved to be applied later as it was seen, or not at all.

A plan holds no config and no secret: the files are rendered again when it is applied. It holds digests of what
they made and of what was live, and is refused when one of them is another now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from decl.change import Change, Diff
from decl.flatten import Flat

VERSION = 1


class StalePlanError(Exception):
    """The files or the live state are not those that the plan was made of."""


class Plan(NamedTuple):
    """config: sha256 of the rendered bytes. base: what each node (DB-less: its hash) or the database ("db": a
    digest of its entities) held."""

    cluster: str
    mode: str
    config: str
    base: Mapping[str, str]
    changes: Sequence[Mapping[str, Any]]
    tool: str = ""

    def text(self) -> str:
        """The file's text; its last line of defence is a sha256 over the rest."""
        body = {"version": VERSION, **self._asdict(), "base": dict(self.base), "changes": list(self.changes)}
        return json.dumps({**body, "sha256": _sum(body)}, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def read_plan(text: str) -> Plan:
    """A plan of its text. Raises ValueError saying what is wrong with it."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is no plan: {error}") from error
    if not isinstance(body, dict) or "sha256" not in body:
        raise ValueError("it is no plan of kgate")
    if body.get("version") != VERSION:
        raise ValueError(f"its version is {body.get('version')!r}, this kgate reads {VERSION}; make it again")
    if body.pop("sha256") != _sum(body):
        raise ValueError("it was changed after it was made; make it again")
    del body["version"]
    return Plan(**body)


def _sum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def config_digest(content: bytes) -> str:
    """The digest of a rendered config."""
    return hashlib.sha256(content).hexdigest()


def live_digest(live: Flat) -> str:
    """The digest of what a database holds, whatever the order in which it tells it."""
    return hashlib.sha256(json.dumps(live, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def plan_of(cluster: str, mode: str, content: bytes, base: Mapping[str, str], found: Diff, tool: str) -> Plan:
    """The plan of a diff."""
    return Plan(
        cluster, mode, config_digest(content), base, [shown(change) for change in found.changes], tool
    )


def shown(change: Change) -> dict[str, Any]:
    """A change as JSON, without secrets."""
    fields = []
    for field in change.fields:
        item: dict[str, Any] = {"field": field.path}
        item.update({"secret": True} if field.secret else {"old": field.old, "new": field.new})
        fields.append(item)
    out = {
        "action": change.action,
        "kind": change.kind,
        "id": change.id,
        "name": change.name,
        "fields": fields,
    }
    return {**out, "moved": change.moved} if change.moved else out


def check_plan(plan: Plan, cluster: str, mode: str, content: bytes, base: Mapping[str, str]) -> None:
    """Raises StalePlanError saying what is another now."""
    if (plan.cluster, plan.mode) != (cluster, mode):
        raise StalePlanError(
            f"the plan is for cluster {plan.cluster!r} ({plan.mode}), not {cluster!r} ({mode})"
        )
    if plan.config != config_digest(content):
        raise StalePlanError("the files (or a secret that they name) have changed since the plan was made")
    if dict(plan.base) != dict(base):
        moved = [node for node in {**plan.base, **base} if plan.base.get(node) != base.get(node)]
        raise StalePlanError(
            f"the live state has changed since the plan was made: {', '.join(sorted(moved))}"
        )
