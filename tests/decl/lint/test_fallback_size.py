"""2 MB of prepared answers in a cluster: too much for an example in a docstring."""

import json

from decl.build import build
from decl.lint import OPTIONS, View
from decl.lint.rules import fallback_size
from decl.load import Text, load
from decl.tenants import expand


def hits(*answers: dict) -> list[str]:
    services = [
        {
            "name": f"s{number}",
            "url": "http://s",
            "plugins": [{"name": "static-fallback", "config": {"responses": [{"on": [502], **answer}]}}],
        }
        for number, answer in enumerate(answers)
    ]
    loaded = load([Text("f.json", json.dumps({"_format_version": "3.0", "services": services}).encode())])
    gateway = expand(build(loaded.document))
    view = View(gateway, None, loaded.sources, "2026-01-01", None, OPTIONS)
    return [hit.message for hit in fallback_size.check(view)]


def test_the_sum_counts() -> None:
    assert hits(*[{"body": "x" * 60_000}] * 33) == []
    (found,) = hits(*[{"body": "x" * 60_000}] * 36)
    assert "2040000 bytes, 2000000 are allowed" in found


def test_every_form_of_a_body_counts() -> None:
    assert len(hits({"json": ["x" * 2_000_000]})) == len(hits({"text": "\u00e9" * 1_000_001})) == 1
