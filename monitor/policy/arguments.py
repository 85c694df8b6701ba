"""One argument of the tools that a subcall called, by its path: ``tool.arguments.command``, ``tool.arguments.file.path``.

A path has the keys of the JSON object on the way to the argument. Lists need no step of their own: ``files.path`` finds the
path of every file in a list. Whatever stands at the path or below it is read, so that ``tool.arguments.options`` searches
every text of an object of options.

A value that cannot be compared as the rule does (``null`` or a word where it wants a number) is unknown, and not below
every limit: who calls a tool chooses how to write its arguments.
"""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy.json_places import NUMBER, scalars
from monitor.policy.readings import FieldType, Passage, Reading, missing, texts, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.policy.json_places import Scalar
    from monitor.records import Record

_UNREADABLE = "the arguments of a tool call are no JSON that can be read"


@dataclass(frozen=True, slots=True)
class ArgumentPath:
    """Reads the argument at ``path`` from the JSON texts that ``passages`` finds, as values of ``type``."""

    path: tuple[str, ...]
    type: FieldType
    passages: Callable[[Record], Iterator[Passage]]
    has_tools: Callable[[Record], bool]

    def __call__(self, record: Record) -> Reading:
        """What the argument holds: nothing where no call has it; unknown where a call's arguments cannot be read."""
        if not self.has_tools(record):
            return missing("the subcall has no tools")
        found: list[tuple[str, Scalar]] = []
        readable = True
        parsed = _parsed_of(record)
        for passage in self.passages(record):
            if passage.text not in parsed:
                parsed[passage.text] = scalars(passage.text)
            all_there = parsed[passage.text]
            if all_there is None:
                readable = False
                continue
            found += [(passage.surface, scalar) for scalar in all_there if scalar.path[: len(self.path)] == self.path]
        return self._reading(found, readable=readable)

    def _reading(self, found: list[tuple[str, Scalar]], *, readable: bool) -> Reading:
        if self.type is FieldType.TEXT:
            passages = [Passage(surface, scalar.text, scalar.places) for surface, scalar in found]
            return texts(*passages) if readable else unknown(_UNREADABLE, *passages)
        read = _truth_value if self.type is FieldType.BOOLEAN else _number
        taken = [(scalar, read(scalar)) for _, scalar in found]
        values = tuple(value for _, value in taken if value is not None)
        if not readable:
            return unknown(_UNREADABLE, values=values)
        if any(value is None and scalar.path == self.path for scalar, value in taken):
            return unknown(f"an argument that is compared with a {self.type.value} is something else", values=values)
        return Reading(values=values, present=bool(found))


class _Parsed(threading.local):
    """The arguments of the record that this thread read last: each text is parsed once for all the paths into it."""

    record: Record | None = None
    texts: dict[str, tuple[Scalar, ...] | None]


_parsed = _Parsed()


def _parsed_of(record: Record) -> dict[str, tuple[Scalar, ...] | None]:
    if _parsed.record is not record:
        _parsed.record, _parsed.texts = record, {}
    return _parsed.texts


def _number(scalar: Scalar) -> float | None:
    """A number, also one in quotes, as which many tools take it; None for anything else, NaN among it."""
    if scalar.is_string and scalar.text.strip() and NUMBER.issuperset(scalar.text.strip()):
        with suppress(ValueError):
            return float(scalar.text)
    value = scalar.value
    return value if isinstance(value, float) and not math.isnan(value) else None


def _truth_value(scalar: Scalar) -> bool | None:
    """True or false, also in quotes; None for anything else."""
    if scalar.is_string:
        return {"true": True, "false": False}.get(scalar.text.strip().lower())
    return scalar.value if isinstance(scalar.value, bool) else None
