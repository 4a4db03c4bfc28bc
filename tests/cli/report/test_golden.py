"""Golden output of the forms that programs read."""

import json
from importlib import metadata

from cli.report import json as json_report
from cli.report import junit, sarif
from tests.cli.report.test_formats import FOUND

GOLDEN_JSON = (
    '{"version": 1, "findings": [{"file": "a,b.yaml", "line": 2, "col": 13, "level": "error", '
    '"rule": "unknown-field", '
    '"message": "unknown field \'nope\': 100%\\nreally"}, {"file": "gw.yaml", "line": 2, "col": 2, '
    '"level": "warning", "rule": "unused-upstream", "message": "no <one> uses \'u\' & \\"v\\""}], '
    '"errors": 1, "warnings": 1}'
)
GOLDEN_JUNIT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="kgate" tests="3" failures="1">
<testsuite name="clean.yaml" tests="1" failures="0" errors="0">
<testcase classname="clean.yaml" name="no findings"/>
</testsuite>
<testsuite name="a,b.yaml" tests="1" failures="1" errors="0">
<testcase classname="a,b.yaml" name="unknown-field at 2:13"><failure message="unknown field 'nope': 100%&#10;really" \
type="unknown-field">a,b.yaml:2:13: error[unknown-field]: unknown field 'nope': 100%
really</failure></testcase>
</testsuite>
<testsuite name="gw.yaml" tests="1" failures="0" errors="0">
<testcase classname="gw.yaml" name="unused-upstream at 2:2"><system-out>gw.yaml:2:2: warning[unused-upstream]: no \
&lt;one&gt; uses 'u' &amp; "v"</system-out></testcase>
</testsuite>
</testsuites>"""
GOLDEN_SARIF = {
    "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
    "version": "2.1.0",
    "runs": [
        {
            "tool": {
                "driver": {
                    "name": "kgate",
                    "version": metadata.version("kgate"),
                    "rules": [{"id": "unknown-field", "shortDescription": {"text": "unknown field"}}],
                }
            },
            "columnKind": "unicodeCodePoints",
            "results": [
                {
                    "ruleId": "unknown-field",
                    "ruleIndex": 0,
                    "level": "error",
                    "message": {"text": "unknown field 'nope': 100%\nreally"},
                    "locations": [
                        {
                            "physicalLocation": {
                                "artifactLocation": {"uri": "a%2Cb.yaml"},
                                "region": {"startLine": 2, "startColumn": 13},
                            }
                        }
                    ],
                    "partialFingerprints": {"kgate/v1": "cc7ec61f2712c67720cc8a7fa838adf6"},
                }
            ],
        }
    ],
}


def test_golden_json_junit_and_sarif() -> None:
    assert json_report.findings(FOUND) == GOLDEN_JSON
    assert junit.findings(FOUND, ["clean.yaml"]) == GOLDEN_JUNIT
    assert json.loads(sarif.findings(FOUND[:1])) == GOLDEN_SARIF
