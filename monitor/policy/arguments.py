"""One argument of the tools that a subcall called, by its path: ``tool.arguments.command``, ``tool.arguments.file.path``.

A path has the keys of the JSON object on the way to the argument. Lists need no step of their own: ``files.path`` finds the
path of every file in a list. Whatever stands at the path or below it is read, so that ``tool.arguments.options`` searches
every text of an object of options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy.json_places import scalars
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
        for passage in self.passages(record):
            all_there = scalars(passage.text)
            if all_there is None:
                readable = False
                continue
            found += [(passage.surface, scalar) for scalar in all_there if scalar.path[: len(self.path)] == self.path]
        return self._reading(found, readable=readable)

    def _reading(self, found: list[tuple[str, Scalar]], *, readable: bool) -> Reading:
        if self.type is FieldType.TEXT:
            passages = [Passage(surface, scalar.text, scalar.places) for surface, scalar in found]
            return texts(*passages) if readable else unknown(_UNREADABLE, *passages)
        wanted = bool if self.type is FieldType.BOOLEAN else float
        values = tuple(scalar.value for _, scalar in found if isinstance(scalar.value, wanted))
        if not readable:
            return unknown(_UNREADABLE, values=values)
        return Reading(values=values, present=bool(found))
