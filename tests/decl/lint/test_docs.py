"""docs/lint.md is what the rules say."""

from pathlib import Path

import decl.lint
from decl.lint import docs


def test_the_page_is_up_to_date() -> None:
    page = Path(decl.lint.__file__).parents[2] / "docs" / "lint.md"
    assert page.read_text() == docs.text(), "run: python -m decl.lint.docs docs/lint.md"
