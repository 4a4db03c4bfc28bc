"""kgate breaker show: the changes with the numbers that caused them."""

from __future__ import annotations

from typing import Any

from kong_plugins.state.records import Event


def test_changes_are_shown_with_their_numbers(kgate: Any) -> None:
    assert kgate.ok("breaker", "show") == "no breaker has changed\n"
    numbers = {"calls": 20, "failed": 12, "slow": 0, "failures": {"timeout": 12}, "open_seconds": 5.0}
    kgate.store.append(
        Event("", 0.0, "breaker.opened", "gateway:n1", "service cart", "too many failures", numbers)
    )
    kgate.ok("breaker", "reset", "service:cart")
    opened, reset = kgate.ok("breaker", "show").splitlines()
    assert "breaker.opened" in opened
    assert "12 of 20 failed, 0 slow (12 timeout), open for 5 s" in opened
    assert "breaker.reset" in reset
    assert [each["kind"] for each in kgate.json("breaker", "show", "--subject", "cart")] == [
        "breaker.opened",
        "breaker.reset",
    ]
    assert kgate.json("breaker", "show", "--subject", "nobody") == []
