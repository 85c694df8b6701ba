"""Whether a text stands in another one: as it is, or as JSON or a prompt to a judge writes it."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

import re2

from monitor.canonical import guard_text

if TYPE_CHECKING:
    from collections.abc import Collection

_DEPTH = 3  # JSON in JSON, and that before a judge
_ESCAPE = re2.compile(r'\\(?:u([0-9A-Fa-f]{4})|["\\/bfnrt])')
_ENTITY = re2.compile(r"&(?:#[xX]([0-9A-Fa-f]{1,6})|#([0-9]{1,7})|amp|lt|gt|quot|apos);")
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Wanted:
    """Texts that are looked for inside of others."""

    def __init__(self, texts: Collection[str]) -> None:
        self._texts = frozenset(filter(None, texts))
        self._forms = self._texts.union(*map(_forms_of, self._texts))

    def __bool__(self) -> bool:
        return bool(self._forms)

    def stands_in(self, body: str) -> bool:
        """Whether one of the texts stands in ``body``, whichever characters were escaped there, and in which way."""
        return any(form in body for form in self._forms) or any(
            text in reading for reading in _readings_of(body) for text in self._texts
        )


def _forms_of(text: str) -> set[str]:
    escaped = {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return {html.escape(text), *escaped, *(json.dumps(form)[1:-1] for form in escaped)}


def _readings_of(body: str) -> set[str]:
    """What ``body`` is with its escapes undone: what writes JSON may escape any character, and each does it in its way."""
    found, newest = set[str](), {body}
    for _ in range(_DEPTH):
        newest = {read for one in newest for read in (_without_escapes(one), _without_entities(one)) if read != one}
        newest -= found
        if not newest:
            break
        found |= newest
    return found


def _without_escapes(text: str) -> str:
    if "\\" not in text:
        return text
    read = str(_ESCAPE.sub(_escaped, text))
    return guard_text(read.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))


def _escaped(found: Any) -> str:
    if found[1]:
        return chr(int(found[1], 16))
    letter = str(found[0][1])
    return _CONTROLS.get(letter, letter)


def _without_entities(text: str) -> str:
    return guard_text(str(_ENTITY.sub(_entity, text))) if "&" in text else text


def _entity(found: Any) -> str:
    code = int(found[1], 16) if found[1] else int(found[2]) if found[2] else None
    if code is None:
        return html.unescape(found[0])
    return chr(code) if code < 0x110000 else str(found[0])
