"""What a field holds in one record, and what is missing there.

A ``Reading`` has texts or values. Besides it says whether something is missing (``gap``):

* ``not_applicable``: this run does not have such a thing (no tools, no such limit, a role that need not show its thought);
* ``unknown``: it exists, and cannot be read here (reasoning that the provider encrypted, a price that nobody knows).

Nothing missing and nothing there is different again: an empty output is read, and is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from monitor.policy.logic import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.records import Record

Gap: TypeAlias = Literal[Truth.UNKNOWN, Truth.ABSENT]
Value: TypeAlias = str | float | bool


class FieldType(StrEnum):
    """What kind of thing a field holds, and so which modifiers it takes."""

    TEXT = "text"
    WORD = "word"
    NUMBER = "number"
    BOOLEAN = "true/false"


class Passage(NamedTuple):
    """A text and where it is stored (see ``records.Span``); ``surface`` is "" for a text that evidence cannot point to.

    ``places`` is for a text that stands in the stored one in another form (a value inside of JSON): for each of its
    codepoints, and for its end, the offset in the stored text. None where the text is the stored one.
    """

    surface: str
    text: str
    places: Sequence[int] | None = None

    def stored(self, start: int, end: int) -> tuple[int, int]:
        """Codepoints ``start`` to ``end`` of this text as codepoints of the stored one."""
        return (start, end) if self.places is None else (self.places[start], self.places[end])


class Reading(NamedTuple):
    """What a field holds in one record. ``gap`` says that something is missing, and ``cause`` what.

    ``present`` answers ``exists``: there is something there, readable or not.
    """

    passages: tuple[Passage, ...] = ()
    values: tuple[Value, ...] = ()
    gap: Gap | None = None
    cause: str = ""
    present: bool = True


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: there is one object for each field
class Field:
    """One field: ``meaning`` is for the reference, ``words`` are the only values of a word that has few."""

    name: str
    type: FieldType
    meaning: str
    read: Callable[[Record], Reading]
    words: tuple[str, ...] = ()


def texts(*passages: Passage) -> Reading:
    """Texts that are all there is; empty ones are read as well."""
    present = False
    for passage in passages:  # a loop, for this is made for several fields of every record
        if passage.text:
            present = True
    return Reading(passages, present=present)


def missing(cause: str, *, present: bool = False) -> Reading:
    """Something that this subcall does not have."""
    return Reading(gap=Truth.ABSENT, cause=cause, present=present)


def unknown(cause: str, *passages: Passage, values: tuple[Value, ...] = (), present: bool = True) -> Reading:
    """Something that is there and cannot be read, or only the ``passages`` or ``values`` of it."""
    return Reading(passages, values, gap=Truth.UNKNOWN, cause=cause, present=present)


def known(value: Value) -> Reading:
    """One value."""
    return Reading(values=(value,), present=value != "")
