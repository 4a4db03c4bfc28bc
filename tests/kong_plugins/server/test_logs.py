"""Logs: one line a record, and never a token."""

import json
import logging

import jwt
import pytest

from kong_plugins.server import logs

TOKEN = jwt.encode({"sub": "alice"}, "a secret of at least thirty-two bytes!", algorithm="HS256")


def logged(form: str, capsys: pytest.CaptureFixture[str], *args: object, **more: object) -> str:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure("info", form)
        logging.getLogger("kgate.test").error(*args, **more)  # type: ignore[arg-type]
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    return capsys.readouterr().err


@pytest.mark.parametrize("form", ["human", "json"])
@pytest.mark.parametrize("text", [TOKEN, TOKEN[:30], f"Bearer {TOKEN}", TOKEN.rpartition(".")[0]])
def test_a_token_is_cut_out(form: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = logged(form, capsys, "refused %s of %s", text, "198.51.100.7")
    assert "eyJ" not in line
    assert "[token]" in line
    assert "198.51.100.7" in line


@pytest.mark.parametrize("form", ["human", "json"])
def test_what_a_client_sent_cannot_forge_a_line(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = logged(form, capsys, "path %s", "/a\n2026 ERROR forged\r\x00")
    assert len(line.splitlines()) == 1


def test_json_carries_request_id_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    line = logged("json", capsys, "failed", extra={"request_id": "r1", "reason": "deadline"})
    entry = json.loads(line)
    assert (entry["request_id"], entry["reason"], entry["level"]) == ("r1", "deadline", "error")
    assert {"time", "logger", "pid", "message"} <= set(entry)


@pytest.mark.parametrize("form", ["human", "json"])
def test_a_trace_is_kept_without_tokens(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError(TOKEN)
    except ValueError:
        text = logged(form, capsys, "failed", exc_info=True)
    assert "ValueError" in text
    assert "test_logs.py" in text
    assert "eyJ" not in text
