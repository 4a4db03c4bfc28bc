import pytest

from decl.substitute import substitute

ENV = {
    "A": "x",
    "N": "5",
    "F": "1.5",
    "YES": "true",
    "EMPTY": "",
    "TRICK": "1\nb: 2",
    "NEST": '${{ env "A" }}',
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('${{ env "A" }}', "x"),
        ('${{env "A"}}', "x"),
        ('http://${{ env "A" }}:${{ env "N" }}/', "http://x:5/"),
        ('${{ env "N" }}', "5"),
        ('${{ env "N" | toInt }}', 5),
        ('${{ env "F" | toFloat }}', 1.5),
        ('${{ env "YES" | toBool }}', True),
        ('n=${{ env "N" | toInt }}', "n=5"),
        ('${{ env "EMPTY" }}', ""),
        ('${{ env "TRICK" }}', "1\nb: 2"),
        ('${{ env "NEST" }}', '${{ env "A" }}'),
        ("$A ${A} {{ A }}", "$A ${A} {{ A }}"),
    ],
)
def test_values(text: str, value: object) -> None:
    result = substitute({"a": [{"b": text}]}, ENV)
    assert result.document == {"a": [{"b": value}]}
    assert result.problems == []


@pytest.mark.parametrize(
    ("text", "rule", "message"),
    [
        ('${{ env "NO" }}', "unset-variable", "environment variable NO is not set"),
        ('a${{ env "NO" }}', "unset-variable", "environment variable NO is not set"),
        ('${{ env "A" | toInt }}', "bad-expression", "environment variable A does not fit toInt"),
        ('${{ env "A" | upper }}', "bad-expression", "unknown function 'upper'"),
        ("${{ A }}", "bad-expression", "'A' is not understood"),
    ],
)
def test_problems(text: str, rule: str, message: str) -> None:
    result = substitute({"a": ["ok", text]}, ENV)
    (problem,) = result.problems
    assert (problem.path, problem.rule) == (("a", 1), rule)
    assert message in problem.message


def test_a_secret_is_not_in_a_message() -> None:
    from decl.load import Text
    from decl.project import open_project

    text = """
_format_version: "3.0"
services:
- {name: a, url: '${{ env "S" }}', tags: ['${{ env "S" }}']}
plugins:
- {name: abuse-guard, config: {deny: ['${{ env "S" }}']}}
"""
    project = open_project([Text("f", text.encode())], {"S": "hunter2,"})
    assert len(project.findings) == 3
    assert not any("hunter2" in finding.message for finding in project.findings)


def test_a_value_that_is_no_number_after_all() -> None:
    from decl.load import Text
    from decl.project import open_project

    text = '_format_version: "3.0"\nservices:\n- {name: a, host: h, port: ${{ env "P" }}}\n'
    project = open_project([Text("f", text.encode())], {"P": "80a"})
    (found,) = (found for found in project.findings if found.level == "error")
    assert str(found) == "f:3:28: error[wrong-type]: port: expected a whole number"
