"""Pages of lists: size, offset and tags, as Kong reads them."""

from __future__ import annotations

import base64
import binascii
import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from sandbox import db_errors
from sandbox.declarative import Reply
from sandbox.store import Entity, Store, tagged

Query = Mapping[str, str]
_ID_CHARS = 36
_TAGS = re.compile(r"[^,/]+(,[^,/]+)*|[^,/]+(/[^,/]+)*")


def page(path: str, items: list[Entity], query: Query, dbless: bool, nested: bool = False) -> Reply:
    """One page of a list that is sorted by id.

    In DB-less mode a page is cut before its tags are looked at, a full last page names another one, and an
    entity without tags is an error of Kong's own.
    """
    size, start = _size(query), _offset(query, items, dbless)
    wanted, every = _tags(query)
    if nested:
        wanted = []  # Kong reads the filter of a nested list and does not use it
    if wanted and not dbless:
        items = tagged(items, wanted, every)
        start = _offset(query, items, dbless)
    part = items[start : start + size]
    more = bool(part) and (start + size < len(items) or (dbless and len(part) == size))
    if wanted and dbless:
        if any(item.get("tags") is None for item in part):
            raise Reply(500, {"message": "An unexpected error occurred"})
        shown = tagged(part, wanted, every)
    else:
        shown = part
    answer: dict[str, Any] = {"data": shown, "next": None}
    if more:
        answer["offset"] = _encode(part[-1]["id"], dbless)
        after = f"?offset={urllib.parse.quote(answer['offset'], safe='')}"
        if not nested:
            after += "".join(
                f"&{name}={urllib.parse.quote(query[name], safe='')}"
                for name in ("tags", "size")
                if name in query
            )
        answer["next"] = path + after
    return Reply(200, answer)


def tag_rows(store: Store, tag: str | None) -> list[Entity]:
    """The rows of /tags and /tags/TAG: one for each tag of each entity."""
    rows = []
    for kind, items in store.entities.items():
        for entity in items.values():
            for each in entity.get("tags") or ():
                if tag is None or each == tag:
                    rows.append(
                        {"tag": each, "entity_name": kind, "entity_id": entity["id"], "id": entity["id"]}
                    )
    return sorted(rows, key=lambda row: row["id"])


def _size(query: Query) -> int:
    if "size" not in query:
        return 100
    try:
        size = float(query["size"])
    except ValueError:
        raise db_errors.bad_size("size must be a number") from None
    if size != int(size) or not 1 <= size <= 1000:
        raise db_errors.bad_size("size must be an integer between 1 and 1000")
    return int(size)


def _tags(query: Query) -> tuple[list[str], bool]:
    if "tags" not in query:
        return [], True
    tags = query["tags"]
    if not tags:
        raise db_errors.bad_tags("cannot be null")
    if not _TAGS.fullmatch(tags):
        raise db_errors.bad_tags("invalid filter syntax")
    return tags.replace("/", ",").split(","), "/" not in tags


def _encode(last: str, dbless: bool) -> str:
    text = f"{last}\0" if dbless else json.dumps([last])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _offset(query: Query, items: list[Entity], dbless: bool) -> int:
    """Where the page starts: behind the entity that the offset names."""
    offset = query.get("offset")
    if not offset:
        return 0
    try:
        text = base64.b64decode(offset + "=" * (-len(offset) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        if dbless:
            raise db_errors.bad_offset(offset, "bad base64 encoding") from None
        text = ""
    if dbless:
        last = text.rstrip("\0")
    else:
        try:
            last = str(json.loads(text)[0])
        except (ValueError, LookupError, TypeError):
            raise db_errors.bad_offset(offset, "bad json encoding") from None
        if len(last) != _ID_CHARS:
            raise Reply(500, {"message": "An unexpected error occurred"})  # the database itself refuses it
    return sum(1 for item in items if item["id"] <= last)
