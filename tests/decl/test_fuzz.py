"""Whatever stands in a file: findings, never an exception; and what has no errors can be rendered."""

import copy
import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decl.load import Text
from decl.project import open_project
from decl.render import render

CASES = Path(__file__).parent / "cases"
NAMES = ("001", "002", "003", "004", "013", "015", "020")
DOCUMENTS = [
    yaml.safe_load(path.read_text())
    for path in sorted(CASES.glob("*/gateway.yaml"))
    if path.parent.name[:3] in NAMES
]
JUNK = (
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "/",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"a": {}},
    {"name": []},
    {"id": 5},
    ["a", 5],
)
TEXTS = ("http://[", "http://a:b", "http://a:99999", "::1", "\ud800", "\x00", "a" * 500)
FIELDS = (
    "name", "service", "route", "plugins", "routes", "tenant", "config", "url", "consumer", "targets",
    "hosts", "username", "custom_id", "key", "jwks", "on", "responses", "clusters", "_info", "protocols",
)  # fmt: skip


def change(data: st.DataObject, document: Any) -> None:
    """One random change somewhere in the document."""
    here: Any = document
    while True:
        inner = (
            list(here.values() if isinstance(here, dict) else here) if isinstance(here, dict | list) else []
        )
        inner = [value for value in inner if isinstance(value, dict | list)]
        if not inner or data.draw(st.integers(0, 3)) == 0:
            break
        here = data.draw(st.sampled_from(range(len(inner))).map(inner.__getitem__))
    junk = copy.deepcopy(data.draw(st.sampled_from(JUNK + TEXTS)))
    if isinstance(here, dict):
        field = data.draw(st.sampled_from((*FIELDS, *here)))
        if data.draw(st.booleans()):
            here[field] = junk
        else:
            here.pop(field, None)
    elif here:
        here[data.draw(st.integers(0, len(here) - 1))] = junk


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_document_breaks_it(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(range(len(DOCUMENTS))).map(DOCUMENTS.__getitem__)))
    for _ in range(data.draw(st.integers(1, 3))):
        change(data, document)
    project = open_project([Text("f", json.dumps(document).encode())], {})
    if project.gateway is not None:
        for cluster in list(project.gateway.clusters) or ["default"]:
            assert json.loads(render(project.gateway, cluster).content)
