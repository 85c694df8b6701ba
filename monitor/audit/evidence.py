"""Evidence with a little of the text around it, from a stored record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.records import Call, Finding, Observation

AROUND = 60  # codepoints on each side
_LONGEST = 240  # codepoints of the evidence itself


@dataclass(frozen=True, slots=True)
class Excerpt:
    """One piece of evidence: ``text`` are the codepoints ``start`` to ``end`` of the stored text that ``surface`` names.

    ``before`` and ``after`` are what stands around it. ``cut`` says how many codepoints of a very long piece are left out
    at its end, ``rest`` how many stand behind ``after``.
    """

    surface: str
    start: int
    end: int
    before: str
    text: str
    after: str
    cut: int = 0
    rest: int = 0


def surfaces(call: Call, seen: Observation | None) -> dict[str, str]:
    """Return every text of the record under the name that evidence uses for it (see ``records.Span``)."""
    texts = {"task": call.task}
    for index, message in enumerate(call.messages):
        texts[f"messages[{index}].content"] = message.content
        for number, tool_call in enumerate(message.tool_calls):
            texts[f"messages[{index}].tool_calls[{number}].name"] = tool_call.name
            texts[f"messages[{index}].tool_calls[{number}].arguments"] = tool_call.arguments
    if seen:
        texts |= {"reasoning": seen.reasoning.text, "output": seen.output, "raw": seen.raw}
        texts["error"] = seen.error.message if seen.error else ""
        for index, tool_call in enumerate(seen.tool_calls):
            texts[f"tool_calls[{index}].name"] = tool_call.name
            texts[f"tool_calls[{index}].arguments"] = tool_call.arguments
    return texts


def excerpts(call: Call, seen: Observation | None, finding: Finding, *, most: int = 3) -> tuple[Excerpt, ...]:
    """The first ``most`` pieces of a finding's evidence."""
    return tuple(_excerpts(surfaces(call, seen), finding, most)) if finding.evidence else ()


def _excerpts(texts: dict[str, str], finding: Finding, most: int) -> Iterator[Excerpt]:
    for span in finding.evidence[:most]:
        text = texts.get(span.surface, "")
        start, end = min(span.start, len(text)), min(span.end, len(text))
        shown = min(end, start + _LONGEST)
        yield Excerpt(
            surface=span.surface,
            start=span.start,
            end=span.end,
            before=text[max(0, start - AROUND) : start],
            text=text[start:shown],
            after=text[end : end + AROUND] if shown == end else "",
            cut=end - shown,
            rest=max(0, len(text) - end - AROUND),
        )
