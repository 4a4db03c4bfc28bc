"""Error answers of Kong and of the nginx in it: texts, and the body for the client's Accept header."""

from __future__ import annotations

import http

NGINX_MESSAGES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    411: "Length required",
    412: "Precondition failed",
    413: "Payload too large",
    414: "URI too long",
    417: "Expectation failed",
    494: "Request header or cookie too large",
    500: "An unexpected error occurred",
    502: "An invalid response was received from the upstream server",
    503: "The upstream server is currently unavailable",
    504: "The upstream server is timing out",
}
_JSON = '{\n  "message":"%s",\n  "request_id":"%s"\n}'
_PLAIN = "%s\nrequest_id: %s\n"
_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>%s</message>\n'
    "  <requestid>%s</requestid>\n</error>\n"
)
_HTML = (
    '<!doctype html>\n<html>\n  <head>\n    <meta charset="utf-8">\n    <title>Error</title>\n  </head>\n'
    "  <body>\n    <h1>Error</h1>\n    <p>%s.</p>\n    <p>request_id: %s</p>\n  </body>\n</html>\n"
)
_TEMPLATES = {
    "application/json": _JSON,
    "text/plain": _PLAIN,
    "text/html": _HTML,
    "application/xml": _XML,
}
_WILDCARDS = {"*/*": "application/json", "application/*": "application/json", "text/*": "text/plain"}


def reason(status: int) -> str:
    """The reason phrase of a status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def message_for(status: int) -> str:
    """Kong's text for a status without one of its own."""
    return NGINX_MESSAGES.get(status) or f"The upstream server responded with {status}"


def media_type(accept: str | None) -> str:
    """Which of the four formats an Accept header asks for; JSON when none fits."""
    best, best_q = "application/json", 0.0
    for item in (accept or "*/*").split(","):
        name, *params = (part.strip().lower() for part in item.split(";"))
        q = 1.0
        for param in params:
            if param.startswith("q="):
                try:
                    q = float(param[2:])
                except ValueError:
                    q = 0.0
        name = _WILDCARDS.get(name, name)
        if name in _TEMPLATES and q > best_q:
            best, best_q = name, q
    return best


def error_body(message: str, request_id: str, accept: str | None) -> tuple[str, str]:
    """(content type, body) of an error that Kong makes itself."""
    kind = media_type(accept)
    return f"{kind}; charset=utf-8", _TEMPLATES[kind] % (message, request_id)


def nginx_error(status: int, request_id: str, accept: str | None) -> tuple[str, str]:
    """(content type, body) of an error that nginx made: plain text when the client names no format."""
    return error_body(message_for(status), request_id, accept or "text/plain")
