"""One question of a rule to a judge, and the field that holds the answer: ``judge.NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import re2

from monitor.canonical import canonical_hash
from monitor.policy.fields import FIELDS
from monitor.policy.readings import Field, FieldType, Passage, Reading, known, missing, unknown

if TYPE_CHECKING:
    from monitor.records import JudgeAnswer, Record, Span

NAME = r"[a-z][a-z0-9_]{0,63}"
MAX_QUESTION = 1_000
"""How many characters a question may have."""
MAX_QUESTIONS = 4
"""How many questions one rule may ask."""
DEFAULT_READS = ("task", "reasoning", "output", "tool.arguments")
READABLE = ("task", "prompt", "system", "user", "data", "reasoning", "output", "tool.arguments", "tool.result", "error")
"""The fields that a judge may be shown: those whose texts are stored, so that a quote is evidence."""
_NAMED = re2.compile(rf"judge\.({NAME})")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked under which name, and the fields of the record that the judge reads. ``hash`` covers all that decides
    on its answer but the model and the record.
    """

    name: str
    text: str
    reads: tuple[str, ...] = DEFAULT_READS

    @property
    def hash(self) -> str:
        """SHA-256 of question and fields."""
        return canonical_hash({"question": self.text, "reads": list(self.reads)})


def question_name(key: str) -> str:
    """The question's name in the key of a line or of a short record; "" where it is no such key."""
    found = _NAMED.fullmatch(key)
    return found[1] if found else ""


@cache
def judge_field(question: Question) -> Field:
    """The field that holds the answer. For equal questions it is the same object."""
    question_hash = question.hash

    def read(record: Record) -> Reading:
        found = answer_to(record, question.name, question_hash)
        if found is None:
            return missing(f"the judge was not asked `{question.name}`")
        if not found.applies:
            return missing(f"`{question.name}` has nothing to read")
        if found.answer is None:
            return unknown(f"no answer to `{question.name}`: {found.cause or 'the judge failed'}")
        if found.answer == "unclear":
            return unknown(found.cause or f"the judge could not tell: `{question.name}`")
        return known(found.answer)._replace(passages=tuple(_quoted(span) for span in found.evidence))

    return Field(
        f"judge.{question.name}", FieldType.WORD, f"what the judge answers: {question.text}", read, ("yes", "no")
    )


def answer_to(record: Record, name: str, question_hash: str) -> JudgeAnswer | None:
    """The answer on record; one of a test's record, which has no hash, is to whatever is asked under that name."""
    return next((one for one in record.answers if one.judge == name and one.question_hash in {"", question_hash}), None)


def shown(question: Question, record: Record) -> tuple[list[Passage], list[str]]:
    """(what the judge is shown of the record, each stored text once; what of it cannot be read, in words)."""
    passages: dict[str, Passage] = {}
    gaps = []
    for name in question.reads:
        reading = FIELDS[name].read(record)
        for passage in reading.passages:
            if passage.surface and passage.text:
                passages.setdefault(passage.surface, passage)
        if reading.gap is not None and reading.gap.value == "unknown":
            gaps.append(reading.cause)
    return list(passages.values()), gaps


def _quoted(span: Span) -> Passage:
    """A place as a passage: its text is not looked at, only where it stands."""
    return Passage(span.surface, " " * (span.end - span.start), range(span.start, span.end + 1))
