"""Text functions that the Lua shim calls: JSON, digests, base64, URIs, regular expressions."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import urllib.parse
import zlib
from collections.abc import Callable
from typing import Any

from sandbox import lua_json
from sandbox.lua_values import Converter


class TextFunctions:
    """Mixed into Host: each `do_NAME` is a function NAME of the shim."""

    table: Callable[..., Any]
    values: Converter

    def do_json_encode(self, value: Any) -> Any:
        try:
            return lua_json.encode(value, self.values)
        except (TypeError, ValueError, RecursionError) as e:
            return None, f"Cannot serialise: {e}"

    def do_json_decode(self, text: str) -> Any:
        try:
            return True, lua_json.decode(text, self.values)
        except (ValueError, RecursionError) as e:
            return False, f"Expected value but found invalid token: {e}"

    def do_md5(self, s: str) -> str:
        return hashlib.md5(s.encode("latin-1"), usedforsecurity=False).hexdigest()

    def do_md5_bin(self, s: str) -> str:
        return hashlib.md5(s.encode("latin-1"), usedforsecurity=False).digest().decode("latin-1")

    def do_sha1_bin(self, s: str) -> str:
        return hashlib.sha1(s.encode("latin-1"), usedforsecurity=False).digest().decode("latin-1")

    def do_hmac_sha1(self, key: str, s: str) -> str:
        return hmac.digest(key.encode("latin-1"), s.encode("latin-1"), "sha1").decode("latin-1")

    def do_crc32(self, s: str) -> int:
        return zlib.crc32(s.encode("latin-1"))

    def do_b64encode(self, s: str, no_padding: bool) -> str:
        text = base64.b64encode(s.encode("latin-1")).decode()
        return text.rstrip("=") if no_padding else text

    def do_b64decode(self, s: str) -> str | None:
        try:
            return base64.b64decode(s + "=" * (-len(s) % 4), validate=True).decode("latin-1")
        except (binascii.Error, ValueError):
            return None

    def do_escape_uri(self, s: str) -> str:
        return urllib.parse.quote(s.encode("latin-1"), safe="!'()*-._~")

    def do_unescape_uri(self, s: str) -> str:
        return urllib.parse.unquote_to_bytes(s.replace("+", " ").encode("latin-1")).decode("latin-1")

    def do_encode_args(self, args: Any) -> str:
        parts = []
        for key, value in args.items():
            for one in value.values() if hasattr(value, "values") else [value]:
                parts.append(
                    self.do_escape_uri(key) + ("" if one is True else "=" + self.do_escape_uri(str(one)))
                )
        return "&".join(parts)

    def do_decode_args(self, text: str) -> Any:
        return self.query_table(text)

    # regular expressions (PCRE is close enough to re for what plugins write)
    def _compile(self, pattern: str, options: str | None) -> re.Pattern[str]:
        flags = 0
        for option in options or "":
            flags |= {"i": re.I, "m": re.M, "s": re.S, "x": re.X}.get(option, 0)
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", pattern), flags)

    def _captures(self, match: re.Match[str]) -> Any:
        table = self.table()
        table[0] = match[0]
        for i, group in enumerate(match.groups(), 1):
            table[i] = False if group is None else group
        for name, group in match.groupdict().items():
            table[name] = False if group is None else group
        return table

    def do_re_match(self, s: str, pattern: str, options: str | None) -> Any:
        match = self._compile(pattern, options).search(s)
        return self._captures(match) if match else None

    def do_re_find(self, s: str, pattern: str, options: str | None) -> Any:
        match = self._compile(pattern, options).search(s)
        return (match.start() + 1, match.end()) if match else None

    def do_re_all(self, s: str, pattern: str, options: str | None) -> Any:
        return self.table(*[self._captures(m) for m in self._compile(pattern, options).finditer(s)])

    def do_re_sub(self, s: str, pattern: str, by: Any, options: str | None, count: int) -> Any:
        if isinstance(by, str):
            template = re.sub(r"\$\{?(\d+)\}?", r"\\g<\1>", by.replace("\\", "\\\\"))
            return self._compile(pattern, options).subn(template, s, count)
        return self._compile(pattern, options).subn(lambda m: str(by(self._captures(m))), s, count)

    def query_table(self, query: str) -> Any:
        table = self.table()
        for part in filter(None, query.split("&")):
            key, mark, value = part.partition("=")
            self.append(table, self.do_unescape_uri(key), self.do_unescape_uri(value) if mark else True)
        return table

    def append(self, table: Any, key: str, value: Any) -> None:
        present = table[key]
        if present is None:
            table[key] = value
        elif isinstance(present, str | bool):
            table[key] = self.table(present, value)
        else:
            present[len(present) + 1] = value
