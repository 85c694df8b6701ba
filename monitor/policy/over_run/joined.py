"""What rules over the tree and over taint know of one subcall: what their parts say of it, and the evidence."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.letters import normal
from monitor.policy.logic import Truth
from monitor.policy.matching import MAX_SPANS
from monitor.policy.over_run.memory import Link
from monitor.policy.run_schema import ANY, UNCHECKED
from monitor.records import FarSpan, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.policy.over_run.nodes import Node
    from monitor.policy.over_run.timeline import Moment
    from monitor.policy.readings import Field, Reading
    from monitor.records import Call, Finding, Observation, Record, Span

MAX_KEYS = 16
"""How many different values of the compared fields one subcall may have."""
MAX_EVIDENCE = 3
"""How many spans of one subcall the evidence keeps for later."""
_LONGEST_KEY = 128


class Step(NamedTuple):
    """One subcall that is judged, or skipped (without a ``record``)."""

    moment: Moment
    node: Node
    call: Call
    observation: Observation | None
    record: Record | None
    found: Mapping[str, Finding]
    read: Callable[[Field], Reading]

    def truth(self, name: str) -> Truth:
        """What a part says: a match that a filter holds to be harmless is none; what was not looked at is absent."""
        if name == UNCHECKED:
            return Truth.NO_MATCH if self.record else Truth.MATCH
        if name == ANY:
            return Truth.MATCH if self.record else Truth.ABSENT
        return truth_of(self.found.get(name))

    def link(self, name: str) -> Link:
        """The subcall as the relative of another, with what the part found in it."""
        finding = self.found.get(name)
        return Link(self.call.span_id, finding.evidence[:MAX_EVIDENCE] if finding else ())


def truth_of(finding: Finding | None) -> Truth:
    """What the finding of a part comes to."""
    if finding is None or finding.status is Status.NOT_APPLICABLE:
        return Truth.ABSENT
    if finding.status is Status.MATCH:
        return Truth.NO_MATCH if finding.suppressed_by else Truth.MATCH
    return Truth.UNKNOWN if finding.status is Status.UNKNOWN else Truth.NO_MATCH


def is_all(found: Sequence[Span]) -> bool:
    """Whether that is all that a rule found: of each clause the evidence has no more than the first ``MAX_SPANS``."""
    return max(Counter(span.clause for span in found).values(), default=0) < MAX_SPANS


def may(truth: Truth) -> bool:
    """Whether it matches, or possibly does."""
    return truth is Truth.MATCH or truth is Truth.UNKNOWN


def both(*truths: Truth) -> Truth:
    """Match where all match; unknown where all may."""
    if all(truth is Truth.MATCH for truth in truths):
        return Truth.MATCH
    return Truth.UNKNOWN if all(map(may, truths)) else Truth.NO_MATCH


def plain(text: str) -> str:
    """A text as it is compared: letters of either case and of every form alike (NFKC), white space as one space."""
    return " ".join(normal("NFKC", text).casefold().split())


def words(text: str) -> str:
    """The same, with ``_`` and ``-`` as white space: ``read_file`` is what ``Read file`` is."""
    return " ".join(plain(text).replace("_", " ").replace("-", " ").split())


def says(text: str, value: str) -> bool:
    """Whether ``value`` stands in ``text`` as a whole, not as a part of longer words. Both are ``words``."""
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        if not (start and text[start - 1].isalnum() and value[0].isalnum()) and not (
            end < len(text) and text[end].isalnum() and value[-1].isalnum()
        ):
            return True
        start = text.find(value, start + 1)
    return False


def values_of(reading: Reading) -> list[str]:
    """What a field holds, as texts."""
    return [*map(str, reading.values), *(passage.text for passage in reading.passages if passage.text)]


def keys_of(fields: Sequence[Field], read: Callable[[Field], Reading]) -> list[tuple[str, ...]] | None:
    """What the subcall has in common with another of which the fields hold the same: one value of each field, as it is
    compared, a long one by its hash. None where that cannot be read; empty where a field is.
    """
    values: list[list[str]] = []
    for field in fields:
        reading = read(field)
        if reading.gap is Truth.UNKNOWN:
            return None
        values.append([text for text in dict.fromkeys(map(_short, values_of(reading))) if text])
    keys = [key for key, _ in zip(product(*values), range(MAX_KEYS + 1), strict=False)]
    return keys if len(keys) <= MAX_KEYS else None


def _short(value: str) -> str:
    text = plain(value)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest() if len(text) > _LONGEST_KEY else text


def far(link: Link) -> list[FarSpan]:
    """What another subcall showed; the subcall as a whole where no text did."""
    spans = [FarSpan(span_id=link.span_id, **span.__dict__) for span in link.evidence]
    return spans or [FarSpan(span_id=link.span_id)]


def text_at(record: Record, surface: str) -> str:
    """The stored text that a surface names; "" where there is none."""
    call, seen = record.call, record.observation
    if surface == "task":
        return call.task
    if surface == "output":
        return seen.output
    if surface == "raw":
        return seen.raw
    if surface == "reasoning":
        return seen.reasoning.text
    if surface == "error":
        return seen.error.message if seen.error else ""
    if surface.startswith("messages["):
        number, _, rest = surface.removeprefix("messages[").partition("].")
        message = call.messages[int(number)]
        return message.content if rest == "content" else _of_call(message.tool_calls, rest)
    return _of_call(seen.tool_calls, surface)


def _of_call(calls: Sequence[object], surface: str) -> str:
    number, _, name = surface.removeprefix("tool_calls[").partition("].")
    return str(getattr(calls[int(number)], name)) if number.isdigit() and name in {"name", "arguments"} else ""
