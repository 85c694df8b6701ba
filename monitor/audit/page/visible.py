r"""Text from models, tools and files with what cannot be seen, or deceives, as an escape such as ``\x1b``.

Control characters can move a terminal's cursor over a verdict and are no XML, bidirectional controls reorder what a reader
sees, and invisible characters hide a message from the reader that the model can read.
"""

from __future__ import annotations

import unicodedata

__all__ = ["visible"]

_KEPT = {"\n", "\t", "\u200c", "\u200d"}  # lines and tabs; the joiners, which Persian, Indic scripts and emoji need
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, invisible formats (bidi, tags), surrogates, line separators


def _escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


class _Table(dict[int, str | int]):
    """For ``str.translate``: decides about each codepoint when it is first met."""

    def __missing__(self, code: int) -> str | int:
        char = chr(code)
        shown = _escape(char) if unicodedata.category(char) in _UNSAFE and char not in _KEPT else code
        return self.setdefault(code, shown)


_TABLE = _Table()


def visible(text: str) -> str:
    """Return ``text`` with every control and invisible character (but line ends and tabs) as a visible escape."""
    return text if text.isascii() and text.isprintable() else text.translate(_TABLE)
