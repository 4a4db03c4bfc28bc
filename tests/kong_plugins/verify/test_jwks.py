"""JwksSource: the last good keys, whatever the gateway answers."""

from __future__ import annotations

import json
import threading

import pytest

from kong_plugins.verify import JwksSource, PassportError, verify_passport


def source(answers, **more):
    def fetch(_url):
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, bytes) else json.dumps(found).encode()

    return JwksSource("http://gateway/keys", fetch=fetch, **more)


def test_before_the_first_answer_nothing_verifies(gateway):
    keys = source([])
    with pytest.raises(PassportError, match="unknown_key"):
        verify_passport(gateway.passport(), keys(), "kgate", now=gateway.now)


@pytest.mark.parametrize(
    "garbage", [OSError("refused"), b"", b"<html>", {}, {"keys": []}, [], b"[" * 20_000, b"\xff"]
)
def test_a_failure_removes_no_key(gateway, garbage):
    keys = source([gateway.jwks(), garbage, {"keys": [gateway.jwk("k2")]}])
    assert keys.poll()
    assert not keys.poll()
    assert verify_passport(gateway.passport(), keys(), "kgate", now=gateway.now).subject == "user-1"
    assert keys.poll()
    assert keys().find("k1") is None
    assert keys().find("k2") is not None


def test_thread(gateway):
    asked = threading.Semaphore(0)

    def fetch(_url):
        asked.release()
        return json.dumps(gateway.jwks()).encode()

    keys = JwksSource("https://gateway/keys", fetch=fetch, refresh=0.01)
    keys.start()
    assert keys().find("k1") is not None
    for _ in range(2):
        assert asked.acquire(timeout=30)
    keys.stop()
    assert not keys._thread.is_alive()


def test_only_http():
    with pytest.raises(ValueError, match=r"^url: "):
        JwksSource("file:///etc/passwd")
