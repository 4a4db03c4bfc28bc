import pytest
from hypothesis import given
from hypothesis import strategies as st

from decl.scalars import plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("y", "y"),
        ("", None),
        ("~", None),
        ("null", None),
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("3.0", 3.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("-", "-"),
        ("10.0.0.1", "10.0.0.1"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain(text: str, value: object) -> None:
    found = plain(text)
    assert found == value
    assert type(found) is type(value)


@given(st.integers(-(10**30), 10**30))
def test_integers(number: int) -> None:
    assert plain(str(number)) == number


@given(st.text())
def test_any_text_has_a_value_that_json_can_hold(text: str) -> None:
    found = plain(text)
    assert found is None or isinstance(found, str | int | float)
    assert found == found  # not nan
