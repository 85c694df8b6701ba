"""The logic of conditions: silence is never mistaken for safety.

A clause says one of four things of a record (``records.Status``), and so does a whole rule. Two ideas decide what
``and``, ``or`` and ``not`` make of them:

* **An unknown is only ever overruled by a certain answer.** ``unknown or match`` is ``match``, ``unknown and no_match``
  is ``no_match``; everywhere else unknown stays unknown, and ``not unknown`` is ``unknown``.
* **What this run does not have is left out.** A clause on tools says nothing of a subcall without tools. In an ``or``,
  and behind a ``not``, it changes nothing; an ``and`` that needs it does not apply. So ``evidence and not exception``
  still catches the evidence where the exception cannot exist.

For the second idea ``not`` must remember that it stood before something absent. That is a fifth value inside a condition,
``NOT_ABSENT``, which is reported as ``not_applicable`` like ``ABSENT`` itself.

Both operators are then total orders: ``and`` takes what comes first in ``AND_ORDER``, ``or`` what comes first in
``OR_ORDER``. So both are associative, commutative and idempotent, and De Morgan's laws hold. ``truth_table`` prints them.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Collection


class Truth(Enum):
    """What a part of a condition says of a record."""

    MATCH = "match"
    NO_MATCH = "no_match"
    UNKNOWN = "unknown"
    ABSENT = "not_applicable"
    NOT_ABSENT = "not (not_applicable)"

    @property
    def status(self) -> Status:
        """The same as a finding reports it."""
        return _STATUS[self]


_STATUS = {
    Truth.MATCH: Status.MATCH,
    Truth.NO_MATCH: Status.NO_MATCH,
    Truth.UNKNOWN: Status.UNKNOWN,
    Truth.ABSENT: Status.NOT_APPLICABLE,
    Truth.NOT_ABSENT: Status.NOT_APPLICABLE,
}

AND_ORDER = (Truth.NO_MATCH, Truth.UNKNOWN, Truth.ABSENT, Truth.MATCH, Truth.NOT_ABSENT)
OR_ORDER = (Truth.MATCH, Truth.UNKNOWN, Truth.NOT_ABSENT, Truth.NO_MATCH, Truth.ABSENT)
_NOT = {
    Truth.MATCH: Truth.NO_MATCH,
    Truth.NO_MATCH: Truth.MATCH,
    Truth.UNKNOWN: Truth.UNKNOWN,
    Truth.ABSENT: Truth.NOT_ABSENT,
    Truth.NOT_ABSENT: Truth.ABSENT,
}


def negate(value: Truth) -> Truth:
    """``not``."""
    return _NOT[value]


def conjoin(values: Collection[Truth]) -> Truth:
    """``and``, and ``all of``: the first of ``AND_ORDER`` that is among ``values``. Raises StopIteration for none."""
    return next(truth for truth in AND_ORDER if truth in values)


def disjoin(values: Collection[Truth]) -> Truth:
    """``or``, and ``1 of``: the first of ``OR_ORDER`` that is among ``values``. Raises StopIteration for none."""
    return next(truth for truth in OR_ORDER if truth in values)


def truth_table() -> str:
    """The operators as Markdown tables, for the guide."""
    values = (Truth.MATCH, Truth.NO_MATCH, Truth.UNKNOWN, Truth.ABSENT, Truth.NOT_ABSENT)
    lines = ["| `not` | |", "|---|---|", *(f"| {value.value} | {negate(value).value} |" for value in values)]
    for word, operator in (("and", conjoin), ("or", disjoin)):
        lines += ["", f"| `{word}` | " + " | ".join(f"**{value.value}**" for value in values) + " |"]
        lines += ["|---" * (len(values) + 1) + "|"]
        for left in values:
            cells = " | ".join(operator((left, right)).value for right in values)
            lines.append(f"| **{left.value}** | {cells} |")
    return "\n".join(lines) + "\n"
