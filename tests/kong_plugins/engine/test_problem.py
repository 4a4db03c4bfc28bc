"""The gateway's own answers are problem details, whatever the texts hold."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine.problem import problem

TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@given(st.sampled_from([400, 401, 403, 404, 405, 418, 429, 503]), TEXTS, TEXTS, TEXTS)
def test_the_body_is_ascii_json_with_these_members(
    status: int, reason: str, detail: str, request_id: str
) -> None:
    verdict = problem(status, reason, detail, request_id, (("Retry-After", "1"),))
    verdict.body.encode("ascii")
    told = json.loads(verdict.body)
    assert list(told) == ["type", "title", "status", "detail", "reason", "request_id"]
    assert told["type"] == "about:blank"
    said = (told["status"], told["reason"], told["detail"], told["request_id"])
    expected = (status, reason, detail, request_id)
    assert json.dumps(said) == json.dumps(expected), "half a surrogate pair too"
    assert (verdict.status, verdict.reason) == (status, reason)
    assert dict(verdict.headers) == {
        "Content-Type": "application/problem+json",
        "Cache-Control": "no-store",
        "Retry-After": "1",
    }
