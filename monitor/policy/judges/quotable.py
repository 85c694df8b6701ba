"""What a judge that decodes by a grammar may write: answers of the fixed schema in which each quote stands in the record.

A small model does not copy: it repeats the quote of a worked example, and an answer with a quote that is not there is no
answer. So its decoding is held to sentences of what it is shown. That makes quotes right by construction and says nothing
of whether they show anything. The texts are the record's, so this is for a grammar and is never shown to a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import re2

from monitor.policy.judges.answers import MAX_QUOTE, MAX_REASONING, MIN_QUOTE
from monitor.policy.judges.fence import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.policy.judges.fence import Asked

MAX_QUOTABLE = 256
"""How many sentences a judge may choose from at most, the first of each text; what is quoted less often is lost to it."""
_SENTENCE = re2.compile(r"[^\n.!?]+[.!?]*|[.!?]+")


def narrowed(asked: Asked) -> dict[str, Any] | None:
    """``ANSWER_SCHEMA`` with one quote, of the sentences that were shown, for a yes and none for other answers.

    None where there is nothing to quote: the schema that everybody is held to is all there is then.
    """
    quotable = sentences(asked)
    if not quotable:
        return None
    return {"anyOf": [_one(["yes"], {"enum": quotable}, 1), _one(["no", "unclear"], {"type": "string"}, 0)]}


def sentences(asked: Asked) -> list[str]:
    """The beginnings of the sentences that the judge was shown, escaped as it saw them, each once, in turn of the texts."""
    texts = [_sentences(passage.text) for passage in asked.passages]
    found: dict[str, None] = {}
    while texts and len(found) < MAX_QUOTABLE:
        for text in list(texts):
            sentence = next(text, None)
            if sentence is None:
                texts.remove(text)
            else:
                found[sentence] = None
    return list(found)[:MAX_QUOTABLE]


def _sentences(text: str) -> Iterator[str]:
    for part in _SENTENCE.finditer(text):
        words = part[0].strip()
        if len(words) < MIN_QUOTE:
            continue
        shown = words
        while len(escaped(shown)) > MAX_QUOTE:  # an escaped character is up to ten: cut whole ones
            shown = shown[: min(len(shown) - 1, MAX_QUOTE)]
        if len(shown) >= MIN_QUOTE:
            yield escaped(shown)


def _one(answers: list[str], quote: dict[str, Any], quotes: int) -> dict[str, Any]:
    properties = {
        "reasoning": {"type": "string", "maxLength": MAX_REASONING},
        "quotes": {"type": "array", "items": quote, "minItems": quotes, "maxItems": quotes},
        "answer": {"enum": answers},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
