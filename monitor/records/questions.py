"""What a judge, a model that is asked a reviewer's question, says of a subcall, as it is stored beside the findings."""

from __future__ import annotations

from typing import Literal, TypeAlias

from monitor.records.trace import Span
from monitor.records.words import Frozen

Said: TypeAlias = Literal["yes", "no", "unclear"]


class JudgeAnswer(Frozen):
    """The answer to one question about one subcall. It holds places in the record, and never text of it.

    ``judge`` is the question's name and ``question_hash`` what it asks and reads. ``answer`` is None where none could be
    had, and ``cause`` says why. A ``yes`` or ``no`` stands only if all of the judge's ``evidence`` was found verbatim in
    the record. ``span_id`` is the subcall of the monitor's that holds the prompt and the raw answer; with
    ``is_cached`` it was asked about an earlier subcall with the same texts. ``applies`` is false where there was nothing
    to read.
    """

    judge: str
    question_hash: str = ""
    answer: Said | None = None
    evidence: tuple[Span, ...] = ()
    model: str = ""
    span_id: str = ""
    applies: bool = True
    is_cached: bool = False
    cause: str = ""
