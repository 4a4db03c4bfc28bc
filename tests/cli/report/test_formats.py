"""Every form of findings: what stands where, and what readers of the form ask for."""

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from cli.report import github, human, junit, parsable, sarif
from cli.report.outputs import FORMS
from decl.findings import Finding
from decl.load import Text, load

TEXTS = {
    "a,b.yaml": b"services:\n- {name: a, nope: 1}\n",
    "gw.yaml": "x: '\u00e9'\n\tupstreams: 1\n".encode(),
}
FOUND = (
    Finding("a,b.yaml", 2, 13, "error", "unknown-field", "unknown field 'nope': 100%\nreally"),
    Finding("gw.yaml", 2, 2, "warning", "unused-upstream", "no <one> uses 'u' & \"v\""),
)


def test_human() -> None:
    assert list(human.findings(FOUND, TEXTS)) == [
        "a,b.yaml:2:13: error[unknown-field]: unknown field 'nope': 100%\nreally",
        "    2 | - {name: a, nope: 1}",
        "      |             ^^^^",
        "gw.yaml:2:2: warning[unused-upstream]: no <one> uses 'u' & \"v\"",
        "    2 | \tupstreams: 1",
        "      | \t^^^^^^^^^",
        "1 error, 1 warning",
    ]


def test_a_long_line_is_cut_around_the_place() -> None:
    text = b"x" * 500 + b" here " + b"y" * 500
    lines = list(human.findings([Finding("f", 1, 502, "error", "r", "m")], {"f": text}))
    assert max(map(len, lines)) < 180
    at = lines[2].index("^")
    assert lines[1][at : at + 4] == "here"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('tags: ["\u65e5\u672c\u8a9e"], nope: 1', "nope"),  # each as wide as two letters
        ('tags: ["\U0001f600"], nope: 1', "nope"),
        ('tags: ["e\u0301"], nope: 1', "nope"),  # two characters, as wide as one
        ("\ttags: \t1, nope: 1", "nope"),
        ('a: 1, "\u65e5\u672c": 1', '"\u65e5\u672c"'),
    ],
)
def test_the_caret_stands_under_the_word_on_a_terminal(line: str, word: str) -> None:
    found = Finding("f", 1, line.index(word) + 1, "error", "r", "m")
    _, shown, carets, _ = human.findings([found], {"f": line.encode()})
    start = cells(shown[: shown.index(word)])
    assert cells(carets[: carets.index("^")]) == start
    assert carets.count("^") == cells(word)


def cells(text: str) -> int:
    """The columns of a terminal that a text takes; a tab is one here, because it stands in both lines."""
    return sum(2 if c in "\u65e5\u672c\u8a9e\U0001f600" else 0 if c == "\u0301" else 1 for c in text)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_a_line_ends_where_the_reader_of_yaml_ends_it(end: str) -> None:
    text = f'_format_version: "3.0"\n# a{end}# b{end}nope: 1{end}nope: 2{end}'.encode()
    found = load([Text("f", text)]).findings
    lines = list(human.findings(found, {"f": text}))
    assert lines[0].startswith("f:5:1: error[duplicate-key]")
    assert lines[1:3] == ["    5 | nope: 2", "      | ^^^^"]


def test_parsable() -> None:
    assert (
        parsable.findings(FOUND[1:]) == "gw.yaml:2:2: [warning] no <one> uses 'u' & \"v\" (unused-upstream)"
    )


def test_github() -> None:
    assert github.findings(FOUND).splitlines() == [
        "::error file=a%2Cb.yaml,line=2,col=13,title=unknown-field::unknown field 'nope': 100%25%0Areally",
        "::warning file=gw.yaml,line=2,col=2,title=unused-upstream::no <one> uses 'u' & \"v\"",
    ]


def test_github_reads_the_same_again() -> None:
    found = FOUND[0]._replace(file="a:b,c%.yaml", message="::error::x\r\n%0A, \u00e9")
    (line,) = github.findings([found]).split("\n")
    # as actions/toolkit's runner splits it: the first :: after the properties ends them
    match = re.fullmatch(r"::(error|warning) ([^:]*)::(.*)", line)
    assert match is not None
    properties = dict(pair.split("=", 1) for pair in match[2].split(","))

    def again(text: str, codes: str) -> str:
        for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            text = text.replace(code, character) if character in codes else text
        return text

    assert set(properties) == {"file", "line", "col", "title"}
    assert again(properties["file"], "\r\n:,%") == found.file
    assert again(match[3], "\r\n%") == found.message


def test_junit() -> None:
    suites = ElementTree.fromstring(junit.findings(FOUND, ["clean.yaml", *TEXTS]))
    assert suites.attrib == {"name": "kgate", "tests": "3", "failures": "1"}
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in suites] == [
        ("clean.yaml", "1", "0"),
        ("a,b.yaml", "1", "1"),
        ("gw.yaml", "1", "0"),
    ]
    failure = suites.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "unknown field 'nope': 100%\nreally"
    assert failure.get("type") == "unknown-field"


JUNIT: dict[str, tuple[set[str], set[str], set[str]]] = {
    # element: its children, the attributes that it must have, those that it may have; as in Jenkins' junit-10.xsd
    # (jenkinsci/xunit-plugin). GitLab's documentation reads classname, name and the text inside.
    "testsuites": ({"testsuite"}, set(), {"name", "tests", "failures", "errors", "time"}),
    "testsuite": ({"testcase"}, {"name", "tests", "failures", "errors"}, {"skipped", "time", "file"}),
    "testcase": ({"failure", "system-out"}, {"name"}, {"classname", "time"}),
    "failure": (set(), set(), {"message", "type"}),
    "system-out": (set(), set(), set()),
}


def test_junit_is_as_jenkins_and_gitlab_read_it() -> None:
    found = sorted(
        [*FOUND, *FOUND[1:], FOUND[0]._replace(message="another one of the rule, at the same place")]
    )
    root = ElementTree.fromstring(junit.findings(found, ["clean.yaml", *TEXTS]))
    assert root.tag == "testsuites"
    for element in root.iter():
        children, must, may = JUNIT[element.tag]
        assert {child.tag for child in element} <= children
        assert must <= set(element.attrib) <= must | may
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite)
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
        # of two cases with one name GitLab shows the first only
        names = [(case.get("classname"), case.get("name")) for case in suite]
        assert len(set(names)) == len(names), names


def test_junit_holds_no_control_characters() -> None:
    ElementTree.fromstring(junit.findings([Finding("f\x01", 1, 1, "error", "r", "a\x00b\ud800")]))


def test_sarif_results_name_their_rule() -> None:
    (run,) = json.loads(sarif.findings(FOUND))["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_sarif() -> None:
    (run,) = json.loads(sarif.findings(FOUND))["runs"]
    first, second = run["results"]
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a%2Cb.yaml"},
        "region": {"startLine": 2, "startColumn": 13},
    }
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["unknown-field", "unused-upstream"]
    assert run["tool"]["driver"]["rules"][1]["fullDescription"]["text"].count("Why:") == 1
    assert second["level"] == "warning"


@pytest.mark.parametrize(
    ("file", "uri"),
    [("./a b.yaml", "a%20b.yaml"), ("/x/a.yaml", "file:///x/a.yaml"), ("../a.yaml", "../a.yaml")],
)
def test_sarif_names_files_as_uris(file: str, uri: str) -> None:
    (result,) = json.loads(sarif.findings([FOUND[0]._replace(file=file)]))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": uri}


def test_a_finding_that_moved_has_the_same_fingerprint() -> None:
    moved = FOUND[0]._replace(line=99)
    prints = [
        json.loads(sarif.findings([f]))["runs"][0]["results"][0]["partialFingerprints"]
        for f in (FOUND[0], moved)
    ]
    assert prints[0] == prints[1]
    twice = json.loads(sarif.findings([FOUND[0], moved]))["runs"][0]["results"]
    assert twice[0]["partialFingerprints"] != twice[1]["partialFingerprints"]


def test_the_forms() -> None:
    assert list(FORMS) == ["human", "parsable", "json", "github", "sarif", "junit"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("{key: s3cr3t, x: 1}", "{key: ******, x: 1}"),
        ('- {"password": "a, b", y: 1}', '- {"password": ******, y: 1}'),
        ("  secret: word of mine # note", "  secret: ************ # note"),
        ("{key: !env KEY, token: '{vault://env/x}'}", "{key: !env KEY, token: '{vault://env/x}'}"),
        ('{secret: "${{ env "X" }}", name: b}', '{secret: "${{ env "X" }}", name: b}'),
        ("{api_key: 'abc", "{api_key: ****"),
        (
            '{headers: {Authorization: "Bearer t0,ken", x: y}}',
            "{headers: {Authorization: ***************, x: y}}",
        ),
        ("{'Authorization': Basic abc}", "{'Authorization': *********}"),
        ('["Authorization:Basic abc", "x:y"]', '["Authorization:**********, "x:y"]'),
        ("{Authorization: !env TOKEN}", "{Authorization: !env TOKEN}"),
        ('url: "http://kim:pass@host/x"', 'url: "http://********@host/x"'),
        (
            "config: {deep: {client_secret: abc}, b: {api_key: d}}",
            "config: {deep: {client_secret: ***}, b: {api_key: *}}",
        ),
        ("{key_names: [apikey], name: x}", "{key_names: [apikey], name: x}"),
    ],
)
def test_the_source_line_shows_no_secret(line: str, shown: str) -> None:
    found = list(human.findings([Finding("f", 1, 1, "error", "r", "m")], {"f": line.encode()}))
    assert found[1] == f"    1 | {shown}"
