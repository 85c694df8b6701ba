"""What a rule over the tree or over taint says of one subcall."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.logic import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.policy.over_run.memory import Link


class Answer(NamedTuple):
    """``here`` is the subcall's own evidence, ``there`` that of the others; ``cause`` says why for an unknown."""

    truth: Truth
    here: tuple[Link, ...] = ()
    there: tuple[Link, ...] = ()
    cause: str = ""


NO = Answer(Truth.NO_MATCH)
_ORDER = (Truth.MATCH, Truth.UNKNOWN, Truth.NO_MATCH)


def strongest(answers: Iterable[Answer]) -> Answer:
    """``or``: a match before an unknown before none, and of equals the first."""
    return min(answers, key=lambda answer: _ORDER.index(answer.truth), default=NO)
