"""The reason phrases and the bare error page of the nginx inside Kong."""

from __future__ import annotations

import http

# Where nginx's words differ from RFC 9110's (ngx_http_header_filter_module.c).
_OWN = {
    302: "Moved Temporarily",
    405: "Not Allowed",
    408: "Request Time-out",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    416: "Requested Range Not Satisfiable",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}
_KNOWN = frozenset(
    {200, 201, 202, 204, 206, 301, 303, 304, 307, 308, *range(400, 407), *range(409, 413), 415}
    | {421, 429, 500, 501, 502, 505, 507}
)
_PAGE = (
    "<html>\r\n<head><title>{0}</title></head>\r\n"
    "<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"
)


def nginx_reason(status: int) -> str:
    """The reason phrase that nginx writes; "" for a status that it does not know."""
    if status in _OWN:
        return _OWN[status]
    return http.HTTPStatus(status).phrase if status in _KNOWN else ""


def nginx_page(status: int) -> str:
    """nginx's own HTML for a status."""
    return _PAGE.format(f"{status} {nginx_reason(status)}")
