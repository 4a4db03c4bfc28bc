"""Answers that the gateway itself gives: problem details (RFC 9457) with a stable reason id."""

from __future__ import annotations

import json

from kong_plugins.engine.verdict import Pairs, Verdict

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


def problem(status: int, reason: str, detail: str, request_id: str, headers: Pairs = ()) -> Verdict:
    """An exit verdict with a problem+json body.

    reason is the stable id that logs, metrics and `kgate explain` use; detail is one sentence for the
    client's developer and must hold nothing secret.
    """
    body = json.dumps(
        {
            "type": "about:blank",
            "title": _TITLES.get(status, "Error"),
            "status": status,
            "detail": detail,
            "reason": reason,
            "request_id": request_id,
        },
        ensure_ascii=True,
    )
    fixed: Pairs = (("Content-Type", "application/problem+json"), ("Cache-Control", "no-store"))
    return Verdict(status=status, body=body, headers=fixed + headers, reason=reason)
