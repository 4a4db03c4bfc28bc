"""Logs of the server: one line a record, for people or as JSON. Never a token, passport or secret."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Literal

Format = Literal["human", "json"]
HUMAN = "%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s"

_JWS = re.compile(r"eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){0,4}")
_LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r", "\x00": "\\0"})


def redact(text: str) -> str:
    """Whatever looks like a signed token is cut out: a log may quote what a client sent."""
    return _JWS.sub("[token]", text)


class _Human(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head, *trace = super().format(record).split("\n") if record.exc_info else [super().format(record)]
        return "\n".join([redact(head.translate(_LINE_BREAKS)), *map(redact, trace)])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": redact(record.getMessage()),
        }
        for field in ("request_id", "reason", "plugin"):
            value = getattr(record, field, None)
            if value:
                entry[field] = value
        if record.exc_info:
            entry["trace"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry)


def configure(level: str, form: str) -> None:
    """Send all logs to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Human(HUMAN))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
