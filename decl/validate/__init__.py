"""Validate: what Kong or the plugin server would refuse, found before anything is sent.

schema (JSON Schema) > plugin configs (JSON Schema, then the plugin's own parser) > Kong's own checks > names and
references.
Each stage looks at plain values and survives what an earlier one found wrong, so all problems come in one
run.
"""

from __future__ import annotations

from typing import Any

from decl.findings import Problem
from decl.validate.kong_entities import check_kong_entities
from decl.validate.plugin_configs import Checkers, check_plugin_configs
from decl.validate.references import check_references
from decl.validate.routes import check_routes
from decl.validate.schema import check_schema, plugin_checker
from decl.validate.services import check_services
from decl.validate.uniqueness import check_uniqueness
from decl.validate.without_database import check_without_database
from decl.walk import walk


def validate(
    document: dict[str, Any], complete: bool = True, checkers: Checkers = plugin_checker
) -> list[Problem]:
    """All problems of a document. `complete` is False when a file is missing from it: then a name that is
    not there proves nothing. checkers: the checker of a plugin's config by its name."""
    entities = tuple(walk(document))
    # of the document itself only a missing field can be told, and it may stand in the missing file
    problems = [problem for problem in check_schema(document) if complete or problem.path]
    problems += check_plugin_configs(entities, checkers)
    problems += check_services(entities)
    problems += check_without_database(document, entities)
    problems += check_uniqueness(entities)
    told = {problem.path for problem in problems}
    problems += (found for found in check_kong_entities(document, entities) if found.path not in told)
    if complete:
        problems += check_references(document, entities)
        problems += check_routes(document, entities)
    return problems
