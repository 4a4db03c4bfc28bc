"""When a failed answer is replaced, by which prepared one, and what is removed of it."""

from __future__ import annotations

import pytest

# source, status, proxied, passed, delayed, service -> word, "" (a status only), None (never)
TABLE = [
    ("service", 200, True, True, None, True, ""),
    ("service", 500, True, True, None, True, ""),
    ("service", 502, True, True, None, True, ""),
    ("service", 502, True, False, None, True, None),
    ("error", 502, True, True, None, True, "refused"),
    ("error", 504, True, True, None, True, "timeout"),
    ("error", 503, True, True, None, True, "no_target"),
    ("error", 500, True, True, None, True, ""),
    ("error", 413, True, True, None, True, None),
    ("error", 502, True, False, None, True, None),
    (
        "error",
        502,
        False,
        True,
        None,
        True,
        None,
    ),  # a plugin's exit without a body
    ("error", 500, False, True, 500, True, None),
    ("exit", 503, False, True, None, True, "no_target"),
    ("exit", 500, False, True, None, True, ""),
    ("exit", 404, False, True, None, True, None),
    ("exit", 503, False, True, None, False, None),
    ("exit", 503, False, False, None, True, None),
    ("exit", 503, False, True, 503, True, None),
    ("exit", 429, False, True, 429, True, None),
    ("exit", 503, True, True, None, True, None),  # another plugin's exit in header_filter
]


@pytest.mark.parametrize(("source", "status", "proxied", "passed", "delayed", "service", "word"), TABLE)
def test_classify(world, source, status, proxied, passed, delayed, service, word):
    result = world.module("kgate.fallback").classify(
        source.encode(), status, proxied, passed, delayed, world.table({"id": "S"}) if service else None
    )
    fits, found = result if isinstance(result, tuple) else (result, None)
    assert bool(fits) is (word is not None)
    assert (found or b"").decode() == (word or "")


@pytest.mark.parametrize(
    ("tokens", "status", "word", "index", "token"),
    [
        ([["502"], ["refused"]], 502, "refused", 0, "502"),
        ([["refused", "502"]], 502, "refused", 0, "refused"),
        ([["timeout"], ["refused"]], 502, "refused", 1, "refused"),
        ([["refused"]], 502, None, None, None),
        ([["500", "503"]], 503, "no_target", 0, "503"),
        ([["50"], ["5030"]], 503, None, None, None),
        ([], 502, "refused", None, None),
    ],
)
def test_choose(world, tokens, status, word, index, token):
    answers = world.table([{"on": on, "i": i} for i, on in enumerate(tokens)])
    result = world.module("kgate.fallback").choose(answers, status, word and word.encode())
    if index is None:
        assert result is None
    else:
        assert (result[0][b"i"], result[1].decode()) == (index, token)


REMOVED = [
    "Content-Encoding",
    "ETag",
    "Set-Cookie",
    "Last-Modified",
    "Content-Length",
    "Cache-Control",
    "Expires",
    "Content-Language",
    "Accept-Ranges",
    "Content-Range",
    "Age",
    "Content-Type",
    "Retry-After",
    "Location",
]


def test_after_the_answer_comes_no_100(world):
    """nginx would send it when it throws the body of a request away that nobody has read (Kong 3.9.3)."""
    world.request(headers=[("Expect", "100-continue"), ("A", "b")])
    answer = {"status": 200, "body": "", "name": "items", "headers": {}}
    world.module("kgate.fallback").swap(world.table(answer), b"no_target")
    assert world.py(world.fake[b"request_headers"]()) == [["A", "b"]]


def test_swap_removes_what_described_the_old_answer(world):
    world.request()
    for name in [*REMOVED, "X-Kept", "Vary"]:
        world.run("local name = ...; ngx.header[name] = 'old'", name.encode())
    answer = {"status": 200, "body": "", "name": "items", "headers": {"Content-Type": "application/json"}}
    world.module("kgate.fallback").swap(world.table(answer), b"refused")
    assert world.py(world.fake[b"response_headers"]()) == {
        "content-type": "application/json",
        "x-fallback": "items; reason=refused",
        "x-kept": "old",
        "vary": "old",
    }
    assert world.py(world.fake[b"exits"])[0][:2] == [200, ""]
