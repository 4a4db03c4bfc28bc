"""Which prepared answer fits a request, and how it is given at once: the twin of the adapter's fallback.lua."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Pairs, Verdict
from kong_plugins.static_fallback.prepared import PreparedAnswer

PLACEHOLDERS = ("request_id", "retry_after", "time")
"""What `{{...}}` may name: nothing of the request's content, so an answer never carries business data."""
PLACEHOLDER = re.compile(r"\{\{ *([a-z_]+) *\}\}")


def choose(
    answers: Sequence[PreparedAnswer], why: str, facts: Facts, name: str | None = None
) -> PreparedAnswer | None:
    """The answer to give at once, why being "open" or "forced".

    In this order, each only where it fits the request: one called `name`; one with the token `why`; one for 503; any.
    None when no answer fits.
    """
    fitting = [answer for answer in answers if fits(answer, facts)]
    for wanted in (
        (lambda answer: bool(name) and answer.name == name),
        (lambda answer: why in answer.on),
        (lambda answer: "503" in answer.on),
        (lambda answer: True),
    ):
        for answer in fitting:
            if wanted(answer):
                return answer
    return None


def fits(answer: PreparedAnswer, facts: Facts) -> bool:
    """Whether the request has the method, path and Accept that the answer is for."""
    if not answer.is_conditional:
        return True
    method = "GET" if facts.method == "HEAD" else facts.method
    if answer.methods and method not in answer.methods and facts.method not in answer.methods:
        return False
    if answer.paths and not any(_glob(glob).fullmatch(facts.path) for glob in answer.paths):
        return False
    return not answer.accept or accepts(facts.headers.get("accept", ""), answer.accept)


def accepts(header: str, media_type: str) -> bool:
    """Whether an Accept header takes a media type (RFC 9110 section 12.5.1); without a header it takes all.

    The most specific range that names the type decides; q=0 refuses it.
    """
    if not header.strip():
        return True
    kind = media_type.partition("/")[0]
    best, taken = 0, False
    for part in header.lower().split(","):
        words = part.split(";")
        name = words[0].strip()
        rank = {media_type: 3, f"{kind}/*": 2, "*/*": 1}.get(name, 0)
        if rank > best:
            best = rank
            taken = not any(re.fullmatch(r" *q *= *0(\.0*)? *", word) for word in words[1:])
    return taken


@lru_cache(maxsize=4096)
def _glob(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", glob)
    kinds = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(kinds.get(part) or re.escape(part) for part in parts), re.DOTALL)


def give(answer: PreparedAnswer, why: str, facts: Facts, now: float, left: float = 0.0) -> Verdict:
    """The verdict that gives an answer at once. left: seconds after which it is worth trying again, 0: not known."""
    wait = math.ceil(left) if left > 0 else answer.retry_after
    mark: Pairs = (("X-Fallback", f"{answer.name}; reason={why}"),)
    if wait and (answer.retry_after or answer.status in (429, 503)):
        mark = (("Retry-After", str(wait)), *mark)
    reason = f"fallback_{why}"
    if facts.headers.get("content-type", "").lower().startswith("application/grpc"):
        headers: Pairs = (
            ("Content-Type", "application/grpc"),
            ("Cache-Control", "no-store"),
            ("grpc-status", str(answer.grpc_status)),
            ("grpc-message", "no answer of the service"),
        )
        return Verdict(status=200, headers=headers + mark, reason=reason)
    headers, body = answer.headers, answer.body
    if answer.filled:
        values = {
            "request_id": facts.request_id,
            "retry_after": str(wait),
            "time": formatdate(now, usegmt=True),
        }
        headers = tuple((key, fill(text, values)) for key, text in headers)
        body = fill(body, values)
    # with its body for HEAD too: Kong leaves it out and says its length (RFC 9110 section 9.3.2)
    return Verdict(status=answer.status, body=body, headers=headers + mark, reason=reason)


def fill(text: str, values: dict[str, str]) -> str:
    """The text with its placeholders replaced."""
    return PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)
