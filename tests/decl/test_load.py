"""What the corpus cannot show: odd bytes, merges of files, places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decl import construct
from decl.load import Text, load


def one(content: str | bytes) -> tuple[dict[str, object], list[str]]:
    data = content if isinstance(content, bytes) else content.encode()
    loaded = load([Text("f.yaml", data)])
    return loaded.document, [str(finding) for finding in loaded.findings]


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("", "f.yaml:1:1: error[yaml-syntax]: expected a map with _format_version and entities"),
        ("\n\n- a\n", "f.yaml:3:1: error[yaml-syntax]: expected a map with _format_version and entities"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: error[yaml-syntax]: but found another document"),
        ("a:\n\t- b\n", "f.yaml:2:1: error[yaml-syntax]: found character that cannot start any token"),
        ("a: *nobody\n", "f.yaml:1:4: error[yaml-syntax]: found undefined alias"),
        (b"a: 1\nb: \xff\n", "f.yaml:2:4: error[yaml-syntax]: not UTF-8 text: byte 8 is 0xff"),
        (
            "a: \U0001f600\nb: \x07\n",
            "f.yaml:2:4: error[yaml-syntax]: character U+0007 is not allowed in YAML",
        ),
        ("a: !secret x\n", "f.yaml:1:4: error[yaml-syntax]: tag '!secret' is not known"),
        ("a: !x [1]\n", "f.yaml:1:4: error[yaml-syntax]: tag '!x' is not known"),
        ("? [a]\n: b\n", "f.yaml:1:3: error[yaml-syntax]: a field's name must be text"),
        ("a: &a [*a]\n", "f.yaml:1:4: error[yaml-syntax]: an alias contains itself"),
        ("<<: 5\n", "f.yaml:1:5: error[yaml-syntax]: << needs a map to merge"),
        ("[" * 20_000, "f.yaml:"),
        ("a: " + "[" * 3_000 + "]" * 3_000, "f.yaml:1:"),
    ],
)
def test_wrong_yaml_is_one_finding(content: str | bytes, finding: str) -> None:
    _, findings = one(content)
    assert len(findings) == 1
    assert findings[0].startswith(finding)


def test_aliases_of_aliases_do_not_eat_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert construct.MAX_NODES == 3_000_000
    monkeypatch.setattr(construct, "MAX_NODES", 30_000)
    lines = ["_ignore:", "- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    document, findings = one("\n".join(lines))
    assert document == {}
    assert findings == ["f.yaml:1:1: error[yaml-syntax]: the document expands to more than 30,000 values"]


def test_nulls_are_absent_but_in_configs() -> None:
    document, _ = one("a: ~\nb: [null]\nc: {config: {x: null, y: {z: }}}\n")
    assert document == {"b": [None], "c": {"config": {"x": None, "y": {"z": None}}}}


def test_byte_order_mark_and_json() -> None:
    assert one(b'\xef\xbb\xbf{"a": [1, "x", true]}') == ({"a": [1, "x", True]}, [])


def test_json_escapes_beyond_the_basic_plane() -> None:
    assert one(r'{"a": ["\ud83d\ude00", "\u00e9", "\\ud83d\\ude00", "\\\ud83d\ude00"]}') == (
        {"a": ["\U0001f600", "\u00e9", r"\ud83d\ude00", "\\\U0001f600"]},
        [],
    )
    _, findings = one(r'{"a": "\ud83d"}')
    assert "invalid Unicode character escape" in findings[0]


def test_own_fields_win_over_merged_ones() -> None:
    document, findings = one("a: &a {x: 1, y: 1}\nb: {y: 2, <<: *a}\nc: {<<: [{x: 3}, *a]}\n")
    assert not findings
    assert document["b"] == {"x": 1, "y": 2}
    assert document["c"] == {"x": 3, "y": 1}


def test_files_are_joined_and_places_kept() -> None:
    texts = [
        Text("a.yaml", b"services:\n- name: a\nclusters: {one: {mode: db}}\n"),
        Text("b.yaml", b"# note\nservices:\n- name: b\n- name: c\nclusters:\n  two: {mode: db}\n"),
    ]
    loaded = load(texts)
    assert [service["name"] for service in loaded.document["services"]] == ["a", "b", "c"]
    assert set(loaded.document["clusters"]) == {"one", "two"}
    places = {
        ("services", 0, "name"): "a.yaml:2:9",
        ("services", 1, "name"): "b.yaml:3:9",
        ("services", 2): "b.yaml:4:3",
        ("services", 2, "routes", 0): "b.yaml:4:3",
        ("clusters", "two", "mode"): "b.yaml:6:15",
        ("clusters", "one", "mode"): "a.yaml:3:24",
        ("nowhere",): "a.yaml:1:1",
    }
    assert {path: str(loaded.sources.place(path)) for path in places} == places
    assert str(loaded.sources.place(("services", 2, "name"), at_key=True)) == "b.yaml:4:3"


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#, \n\t?%<~0", max_size=60))
def test_any_text_gives_findings_and_no_exception(text: str) -> None:
    one(text)
