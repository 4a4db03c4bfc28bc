r"""Files as text for a YAML 1.2 parser: what decK and JSON allow and libyaml does not.

decK replaces `${{ env "X" }}` in the text, before YAML is parsed, so its quotes may stand within quotes
(`host: "${{ env "DECK_HOST" }}"`) and its braces in flow style (`{port: ${{ env "DECK_PORT" }}}`). While YAML is
parsed, characters that no text has (Unicode's noncharacters) stand for them; all lengths stay, so places in the file
are right. JSON writes what is beyond U+FFFF as two escapes (RFC 8259, section 7).
"""

from __future__ import annotations

import re

_EXPRESSION = re.compile(r'\$\{\{\s*env\s+"[A-Za-z_][A-Za-z0-9_]*"\s*(?:\|[\w\s|]*)?\}\}')
_HIDDEN = str.maketrans('{}"', "\ufdd0\ufdd1\ufdd2")
_SHOWN = str.maketrans("\ufdd0\ufdd1\ufdd2", '{}"')
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class NotTextError(ValueError):
    """Bytes that are no UTF-8; line and col count from 1."""

    def __init__(self, error: UnicodeDecodeError) -> None:
        before = error.object[: error.start].decode("utf-8", "replace")
        self.line, self.col = place_of(before, len(before))
        super().__init__(f"not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}")


def text_of(content: bytes) -> str:
    """The text of a file to parse, without a byte order mark. Raises NotTextError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotTextError(error) from error
    if "${{" in text:
        text = _EXPRESSION.sub(lambda match: match[0].translate(_HIDDEN), text)
    if "\\ud" in text or "\\uD" in text:
        text = _PAIR.sub(_joined, text)
    return text


def shown(value: str) -> str:
    """A scalar of such a text, with what was hidden from YAML."""
    return value.translate(_SHOWN)


def place_of(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1, of a position in a text."""
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"
