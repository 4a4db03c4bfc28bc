"""JwksFetcher over a real server; the time is an argument, nothing sleeps."""

from __future__ import annotations

import json
import stat
import threading

import pytest

from kong_plugins.identity.fetcher import JwksFetcher
from kong_plugins.identity.issuers import parse_issuers


@pytest.fixture
def make(mint, key_server, tmp_path):
    """A fetcher of the server's keys, without jitter, and what it published."""

    def make(url=None, cache=True, **more):
        item = mint.issuer(jwks_url=url or key_server.url)
        del item["jwks"]
        published = []
        fetcher = JwksFetcher(
            parse_issuers([item], tmp_path)["main"],
            lambda name, keys: published.append([key.kid for key in keys.keys]),
            cache_dir=tmp_path if cache else None,
            jitter=lambda low, high: 1.0,
            **more,
        )
        return fetcher, published

    return make


def test_refresh(make, mint, key_server):
    fetcher, published = make()
    key_server.serve(mint.jwks("EdDSA"))
    assert fetcher.poll(1000) == 1300
    assert fetcher.poll(1299) == 1300
    assert len(key_server.asked) == 1
    key_server.serve(mint.jwks("EdDSA", "RS256"))
    assert fetcher.poll(1300) == 1600
    assert fetcher.poll(1600) == 1900
    # the same document again is no change; a key that the issuer took away is gone
    assert published == [["EdDSA"], ["EdDSA", "RS256"]]
    key_server.serve(mint.jwks("RS256"))
    fetcher.poll(1900)
    assert published[-1] == ["RS256"]
    assert fetcher.last_good == 1900


GARBAGE = {
    "error": (500, {}, b"oops"),
    "not found": (404, {}, b""),
    "empty": (200, {}, b""),
    "HTML": (200, {}, b"<html>login</html>"),
    "no keys": (200, {}, b'{"keys":[]}'),
    "other keys": (200, {}, b'{"keys":[{"kty":"quantum","kid":"EdDSA"}]}'),
    "null": (200, {}, b"null"),
    "deep": (200, {}, b"[" * 100_000),
    "duplicate": (200, {}, b'{"keys":[],"keys":[{}]}'),
    "binary": (200, {}, bytes(range(256))),
    "too large": (200, {}, b" " * (1024 * 1024 + 1)),
    "cut": (200, {"Content-Length": "999"}, b'{"keys":'),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_removes_nothing(make, mint, key_server, name):
    fetcher, published = make()
    key_server.serve(mint.jwks("EdDSA"))
    fetcher.poll(0)
    key_server.answer = GARBAGE[name]
    assert fetcher.poll(300) == 301
    assert fetcher.last_error
    key_server.serve(mint.jwks("RS256"))
    assert fetcher.poll(301) == 601
    assert fetcher.last_error == ""
    assert published == [["EdDSA"], ["RS256"]]


def test_outage_backs_off(make, key_server):
    key_server.answer = (503, {}, b"")
    fetcher, published = make()
    due, waits = 0.0, []
    for _ in range(8):
        later = fetcher.poll(due)
        waits.append(later - due)
        due = later
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert published == []


def test_unknown_kids_ask_once_within_the_cooldown(make, mint, key_server):
    key_server.serve(mint.jwks("EdDSA"))
    fetcher, published = make()
    fetcher.poll(1000)
    key_server.serve(mint.jwks("RS256"))
    fetcher.want("RS256")
    fetcher.poll(1005)  # a rotation right after a refresh is seen at once
    assert published[-1] == ["RS256"]
    for second in range(1006, 1035):
        fetcher.want(f"random-{second}")
        assert fetcher.poll(second) == 1035
    assert len(key_server.asked) == 2
    fetcher.poll(1035)
    assert len(key_server.asked) == 3
    assert fetcher.poll(1036) == 1335


def test_restart_during_an_outage(make, mint, key_server, tmp_path):
    key_server.serve(mint.jwks("EdDSA"))
    make()[0].poll(0)
    saved = tmp_path / "main.jwks.json"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    key_server.answer = (503, {}, b"")
    fetcher, published = make()
    assert fetcher.restore()
    fetcher.poll(0)
    assert published == [["EdDSA"]]
    assert [file.name for file in tmp_path.iterdir()] == ["main.jwks.json"]


def damage(change):
    def damaged(path, mint):
        saved = json.loads(path.read_bytes())
        change(saved)
        path.write_text(json.dumps(saved))

    return damaged


@pytest.mark.parametrize(
    "harm",
    [
        lambda path, mint: path.unlink(),
        lambda path, mint: path.write_bytes(b"\x00garbage"),
        lambda path, mint: path.write_text("[]"),
        lambda path, mint: path.chmod(0o622),
        lambda path, mint: (path.rename(path.with_suffix(".x")), path.symlink_to(path.with_suffix(".x"))),
        damage(lambda saved: saved.update(url="http://other.example/jwks")),
        damage(lambda saved: saved.update(document={"keys": []})),
        damage(lambda saved: saved.pop("document")),
    ],
)
def test_a_saved_copy_that_cannot_be_trusted(make, mint, key_server, tmp_path, harm):
    key_server.serve(mint.jwks("EdDSA"))
    make()[0].poll(0)
    harm(tmp_path / "main.jwks.json", mint)
    fetcher, published = make()
    assert not fetcher.restore()
    assert published == []


def test_a_disk_that_is_full_costs_only_the_copy(make, mint, key_server, tmp_path):
    key_server.serve(mint.jwks("EdDSA"))
    fetcher, published = make()
    (tmp_path / "main.jwks.json").mkdir()
    fetcher.poll(0)
    assert published == [["EdDSA"]]


def test_without_a_directory(make, mint, key_server):
    key_server.serve(mint.jwks("EdDSA"))
    fetcher, published = make(cache=False)
    assert not fetcher.restore()
    fetcher.poll(0)
    assert published == [["EdDSA"]]


class Nap(threading.Event):
    """An event that tells when somebody begins to wait for it."""

    def __init__(self):
        super().__init__()
        self.begun = threading.Semaphore(0)

    def wait(self, timeout=None):
        self.begun.release()
        return super().wait(timeout)


def test_thread(make, mint):
    """Fetches at the start, wakes for an unknown kid, survives surprises, and ends."""
    answers = [lambda: json.dumps(mint.jwks("EdDSA")).encode(), lambda: 1 / 0, lambda: b"{}"]
    fetcher, published = make(fetch=lambda url: answers.pop(0)(), cooldown=0)
    fetcher._wake = nap = Nap()
    fetcher.start()
    try:
        for left in (2, 1, 0):
            assert nap.begun.acquire(timeout=5)
            while len(answers) > left:
                assert nap.begun.acquire(timeout=5)
            fetcher.want("next")
    finally:
        fetcher.stop()
    assert not fetcher._thread.is_alive()
    assert published == [["EdDSA"]]
