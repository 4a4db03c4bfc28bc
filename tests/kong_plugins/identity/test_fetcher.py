"""JwksFetcher over a real server; the time is an argument, nothing sleeps."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading

import pytest

from kong_plugins.identity.fetcher import JwksFetcher, refresh_after
from kong_plugins.identity.http_get import Answer
from kong_plugins.identity.issuers import parse_issuers


@pytest.fixture
def make(mint, key_server, tmp_path):
    """A fetcher of the server's keys, without jitter, and what it published."""
    fetchers = []

    def make(url=None, cache=True, issuer=None, **more):
        item = mint.issuer(jwks_url=url or key_server.url, **(issuer or {}))
        del item["jwks"]
        published = []
        fetcher = JwksFetcher(
            parse_issuers([item], tmp_path)["main"],
            lambda name, keys: published.append(keys and [key.kid for key in keys.keys]),
            cache_dir=tmp_path if cache else None,
            jitter=lambda low, high: 1.0,
            **more,
        )
        fetchers.append(fetcher)
        return fetcher, published

    yield make
    for fetcher in fetchers:
        fetcher.stop()


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
    assert fetcher.confirmed > 0


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
    first, _ = make()
    first.poll(0)
    first.stop()
    saved = tmp_path / "main.jwks.json"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    key_server.answer = (503, {}, b"")
    fetcher, published = make()
    assert fetcher.restore()
    fetcher.poll(0)
    assert published == [["EdDSA"]]
    assert [file.name for file in tmp_path.iterdir() if ".json" in file.name] == ["main.jwks.json"]


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
        damage(lambda saved: saved.pop("refresh")),
        damage(lambda saved: saved.update(refresh=True)),
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
    answers = [
        lambda: Answer(json.dumps(mint.jwks("EdDSA")).encode()),
        lambda: 1 / 0,
        lambda: Answer(b"{}"),
    ]
    fetcher, published = make(cache=False, fetch=lambda url: answers.pop(0)(), cooldown=0)
    fetcher._wake = nap = Nap()
    fetcher.start()
    try:
        for left in (2, 1, 0):
            assert nap.begun.acquire(timeout=30)
            while len(answers) > left:
                assert nap.begun.acquire(timeout=30)
            fetcher.want("next")
    finally:
        fetcher.stop()
    assert not fetcher._thread.is_alive()
    assert published == [["EdDSA"]]


@pytest.mark.parametrize(
    ("headers", "refresh", "seconds"),
    [
        ({}, 300, 300),
        ({"cache-control": "max-age=900"}, 300, 900),
        ({"cache-control": "public, MAX-AGE=900, must-revalidate"}, 300, 900),
        ({"cache-control": 'max-age="900"'}, 300, 900),
        ({"cache-control": "max-age=900", "age": "100"}, 300, 800),
        ({"cache-control": "max-age=900", "age": "lots"}, 300, 900),
        ({"cache-control": "max-age=900", "age": "2000"}, 300, 60),
        ({"cache-control": "max-age=1"}, 300, 60),
        ({"cache-control": "max-age=999999"}, 300, 3600),
        ({"cache-control": "max-age=999999"}, 86_400, 86_400),
        ({"cache-control": "max-age=1"}, 5, 5),
        ({"cache-control": "no-store"}, 300, 60),
        ({"cache-control": "no-cache, max-age=900"}, 300, 60),
        ({"cache-control": "s-maxage=900"}, 300, 300),
        ({"cache-control": "max-age=-5"}, 300, 300),
        ({"cache-control": "max-age"}, 300, 300),
    ],
)
def test_cache_control_counts_within_bounds(headers, refresh, seconds):
    assert refresh_after(headers, refresh) == seconds


def test_cache_control_over_http(make, mint, key_server):
    fetcher, _ = make()
    key_server.answer = (200, {"Cache-Control": "max-age=900"}, json.dumps(mint.jwks("EdDSA")).encode())
    assert fetcher.poll(0) == 900


def test_keys_live_on_for_stale_if_error_and_no_longer(make, mint, key_server, tmp_path):
    """The issuer is away: its keys serve, the passport can say so, and at last they are given up."""
    time = {"now": 5_000_000_000.0}
    fetcher, published = make(issuer={"stale_if_error": 7200}, clock=lambda: time["now"])
    key_server.serve(mint.jwks("EdDSA"))
    fetcher.poll(0)
    key_server.answer = (503, {}, b"")
    seen = []
    for later in (300, 602, 7200, 7201):
        time["now"] = 5_000_000_000.0 + later
        fetcher.poll(later)
        seen.append((fetcher.is_stale, published[-1]))
    assert seen == [(False, ["EdDSA"]), (True, ["EdDSA"]), (True, ["EdDSA"]), (False, None)]
    key_server.serve(mint.jwks("EdDSA"))
    fetcher.poll(9000)
    assert published[-1] == ["EdDSA"]
    assert not fetcher.is_stale


@pytest.mark.parametrize(("age", "good"), [(3599, True), (3700, False)])
def test_a_saved_copy_that_is_too_old(make, mint, key_server, tmp_path, age, good):
    key_server.serve(mint.jwks("EdDSA"))
    first, _ = make()
    first.poll(0)
    first.stop()
    at = (tmp_path / "main.jwks.json").stat().st_mtime
    fetcher, published = make(issuer={"stale_if_error": 3600}, clock=lambda: at + age)
    assert fetcher.restore() is good
    assert published == ([["EdDSA"]] if good else [])


def test_one_process_fetches_for_all(make, mint, key_server):
    """The others take what it saved, pass their unknown kids on, and one of them goes on when it ends."""
    key_server.serve(mint.jwks("EdDSA"))
    leader, _ = make()
    follower, published = make()
    leader.poll(0)
    assert follower.poll(0) == 1
    assert published == [["EdDSA"]]
    assert len(key_server.asked) == 1
    key_server.serve(mint.jwks("EdDSA", "RS256"))
    follower.want("RS256")
    follower.poll(1)
    leader.poll(2)
    follower.poll(3)
    assert published[-1] == ["EdDSA", "RS256"]
    assert len(key_server.asked) == 2
    leader.stop()
    key_server.serve(mint.jwks("RS256"))
    follower.poll(4)
    assert (published[-1], len(key_server.asked)) == (["RS256"], 3)


def test_everybody_fetches_where_the_one_cannot_save(make, mint, key_server, tmp_path):
    key_server.serve(mint.jwks("EdDSA"))
    leader, _ = make()
    (tmp_path / "main.jwks.json").mkdir()
    leader.poll(0)
    follower, published = make()
    follower.poll(0)
    assert published == [["EdDSA"]]


def test_what_the_issuer_says_of_its_keys_age_counts_for_all_processes(make, mint, key_server):
    """Cache-Control lets the one that fetches wait for 15 minutes: to the others that is not stale."""
    time = {"now": 5_000_000_000.0}
    key_server.answer = (200, {"Cache-Control": "max-age=900"}, json.dumps(mint.jwks("EdDSA")).encode())
    leader, _ = make()
    leader.poll(0)
    follower, published = make(clock=lambda: time["now"])
    time["now"] = follower._shelf.changed()
    follower.poll(0)
    assert published == [["EdDSA"]]
    seen = []
    for later in (899, 1801, 1802):
        time["now"] = follower.confirmed + later
        seen.append(follower.is_stale)
    assert seen == [False, False, True]


def test_who_follows_another_process_looks_often_until_there_are_keys(make, mint, key_server, tmp_path):
    leader, _ = make()
    key_server.answer = (503, {}, b"")
    leader.poll(1000)
    # a process of its own finds the shelf's lock taken
    code = """
import json, sys
from pathlib import Path
from kong_plugins.identity.fetcher import JwksFetcher
from kong_plugins.identity.issuers import parse_issuers
item, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
fetcher = JwksFetcher(parse_issuers([item], folder)["main"], lambda name, keys: None, cache_dir=folder)
print(fetcher.poll(1000), flush=True)
sys.stdin.readline()
print(fetcher.poll(1000), flush=True)
"""
    item = mint.issuer(jwks_url=key_server.url)
    del item["jwks"]
    command = [sys.executable, "-c", code, json.dumps(item), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdin is not None
        assert float(follower.stdout.readline()) == pytest.approx(1000.05)
        key_server.serve(mint.jwks("EdDSA"))
        leader.poll(2000)
        follower.stdin.write("look\n")
        follower.stdin.flush()
        assert float(follower.stdout.readline()) == 1001
