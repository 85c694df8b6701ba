r"""A place in a JavaScript pattern, and the characters that escapes such as ``\x41`` and ``\ud83d\ude00`` stand for."""

from __future__ import annotations

from monitor.policy.importers.charset import HIGH_HALVES, LAST, LOW_HALVES
from monitor.policy.importers.reasons import Reason, UnreadableError

_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}


class Escapes:
    """Reads escapes at ``_at``. ``halves``: JavaScript would read some characters as halves."""

    def __init__(self, pattern: str, *, unicode: bool) -> None:
        self._text = pattern
        self._at = 0
        self._unicode = unicode
        self._in_class = False
        self.halves = False

    def _wrong(self, problem: str) -> UnreadableError:
        return UnreadableError(Reason.REGEX_INVALID, f"{problem}, at character {self._at + 1}")

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, expected: str) -> bool:
        if self._text.startswith(expected, self._at):
            self._at += len(expected)
            return True
        return False

    def _digits(self, first: str, most: int) -> str:
        digits = ""
        while len(digits) < most and self._text[self._at + len(digits) :][:1].isascii():
            digit = self._text[self._at + len(digits) :][:1]
            if not digit or digit not in (first if not digits else "0123456789"):
                break
            digits += digit
        return digits

    def _escaped_char(self) -> int:
        """The character after a backslash, which is read already; both inside and outside of brackets."""
        char = self._next()
        if not char:
            raise self._wrong("the pattern ends in a single `\\`")
        self._at += 1
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x" and (code := self._hex(2)) is not None:
            return code
        if char == "u":
            return self._unicode_escape()
        if char == "c" and self._next().isascii() and self._next().isalpha():
            self._at += 1
            return ord(self._text[self._at - 1]) % 32
        if char in "01234567" and not self._unicode:
            return self._octal(char)
        if char == "0" and not self._next().isdigit():
            return 0
        if char == "c":
            self._at -= 1
            return ord("\\")
        if self._unicode and char not in r"^$\.*+?()[]{}|/-":
            raise self._wrong(f"`\\{char}` means nothing with the flag u")
        return ord(char)

    def _hex(self, length: int) -> int | None:
        digits = self._text[self._at : self._at + length]
        if len(digits) < length or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            return None
        self._at += length
        return int(digits, 16)

    def _octal(self, first: str) -> int:
        digits = first
        while len(digits) < (3 if first in "0123" else 2) and self._next() in set("01234567"):
            digits += self._next()
            self._at += 1
        return int(digits, 8)

    def _unicode_escape(self) -> int:
        if self._unicode and self._take("{"):
            end = self._text.find("}", self._at)
            digits = self._text[self._at : end] if end >= 0 else ""
            if not digits or any(digit not in "0123456789abcdefABCDEF" for digit in digits) or int(digits, 16) > LAST:
                raise self._wrong("`\\u{…}` takes the number of a character")
            self._at = end + 1
            return int(digits, 16)
        code = self._hex(4)
        if code is None:
            if self._unicode:
                raise self._wrong("`\\u` takes four hexadecimal digits")
            return ord("u")
        place = self._at
        if code in HIGH_HALVES and self._take("\\u"):
            low = self._hex(4)
            if low is not None and low in LOW_HALVES:
                if not self._unicode and self._in_class:
                    self.halves = True
                return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            self._at = place
        return code
