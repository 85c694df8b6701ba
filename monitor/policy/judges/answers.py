"""What a judge's reply is worth: checked against a schema, its quotes found word for word, else no answer at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.canonical import parse_json, unescape_json
from monitor.policy.judges.fence import unescaped
from monitor.records import JudgeAnswer, Outcome, Span

if TYPE_CHECKING:
    from monitor.policy.judges.fence import Asked
    from monitor.policy.readings import Passage
    from monitor.records import Observation

MAX_QUOTES = 3
MIN_QUOTE, MAX_QUOTE = 4, 200
MAX_REASONING = 300

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reasoning": {"type": "string", "maxLength": MAX_REASONING},
        "quotes": {"type": "array", "maxItems": MAX_QUOTES, "items": {"type": "string", "maxLength": MAX_QUOTE}},
        "answer": {"enum": ["yes", "no", "unclear"]},
    },
    "required": ["reasoning", "quotes", "answer"],
    "additionalProperties": False,
}
"""What a judge must answer. ``reasoning`` is for whoever reads the record; nothing is decided by it."""


def answer_of(asked: Asked, seen: Observation, *, model: str, span_id: str) -> JudgeAnswer:
    """The answer in what came back. ``seen.output`` has been held against ``ANSWER_SCHEMA`` by whoever asked.

    A ``yes`` needs a quote, and every quote must stand in what was shown. What was cut off or cannot be read leaves only a
    ``yes`` certain. Causes quote neither the record nor the judge.
    """
    found = {"judge": asked.question.name, "question_hash": asked.question.hash, "model": model, "span_id": span_id}
    if seen.outcome is not Outcome.OK:
        kind = seen.error.kind if seen.error else seen.outcome.value
        limits = ", ".join(dict.fromkeys(one.limit for one in seen.exceeded))
        cause = f"the judge did not come to an end within its limits ({limits})" if limits else ""
        return JudgeAnswer(**found, cause=cause or f"the judge failed ({kind})")
    try:
        said = unescape_json(parse_json(seen.output), texts=False)
        answer, quotes = said["answer"], [quote for quote in said["quotes"] if quote.strip()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return JudgeAnswer(**found, cause="the judge's answer cannot be read")
    if answer not in {"yes", "no", "unclear"}:
        return JudgeAnswer(**found, cause="the judge's answer is none of yes, no and unclear")
    places = [_place(quote, asked.passages, asked.question.name) for quote in quotes]
    evidence = tuple(dict.fromkeys(place for place in places if place))
    if answer != "unclear" and None in places:
        return JudgeAnswer(**found, cause="the judge quotes what is not in the record")
    if answer == "yes" and not evidence:
        return JudgeAnswer(**found, cause="the judge says yes and quotes nothing")
    if answer == "no" and asked.cut:
        return JudgeAnswer(**found, cause="a no counts only where the judge was shown everything")
    return JudgeAnswer(**found, answer=answer, evidence=evidence)


def _place(quote: str, passages: tuple[Passage, ...], name: str) -> Span | None:
    """Where a quote stands first, as it was stored or as the judge saw it, escaped; None for one that is nowhere, or
    too short to say anything.
    """
    for words in dict.fromkeys((quote, unescaped(quote), quote.strip(), unescaped(quote).strip())):
        for passage in passages:
            whole = words.strip() == passage.text.strip()
            if len(words.strip()) < MIN_QUOTE and not whole:
                continue
            start = passage.text.find(words)
            if start >= 0:
                stored = passage.stored(start, start + len(words))
                return Span(surface=passage.surface, start=stored[0], end=stored[1], clause=f"judge.{name}")
    return None
