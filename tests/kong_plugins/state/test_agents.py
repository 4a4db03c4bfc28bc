"""One expression for many parts of user agents finds what a loop over them finds."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state.agents import MAX_AGENTS, agent_pattern

texts = st.text(alphabet="ab.*(/\u0130", max_size=8)


@given(st.frozensets(texts.filter(bool), max_size=8), texts)
def test_finds_what_a_loop_finds(parts: frozenset[str], text: str) -> None:
    pattern = agent_pattern(parts)
    found = pattern is not None and pattern.search(text) is not None
    assert found == any(part in text for part in parts)


def test_the_worst_parts_still_compile() -> None:
    # each one branches off one character later than the one before
    parts = frozenset("a" * n + "b" for n in range(200))
    pattern = agent_pattern(parts)
    assert pattern is not None
    assert pattern.search("x" + "a" * 150 + "b") is not None
    assert pattern.search("a" * 200) is None


def test_as_many_as_there_may_be() -> None:
    draw = random.Random(1)
    parts = frozenset("".join(draw.choices("abcdefgh/-", k=10)) for _ in range(MAX_AGENTS))
    pattern = agent_pattern(parts)
    assert pattern is not None
    assert all(pattern.search(f"x{part}y") for part in parts)
