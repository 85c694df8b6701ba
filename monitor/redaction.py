"""What a reader of a result gets where a rule says ``redact``: the same texts, with the evidence covered.

Pure, and repeatable from the record alone: a resumed run hands on what the first execution handed on. The store keeps the
texts as they came; erasing them there is another thing. Each covered codepoint becomes ``COVER``, so that offsets stay
true. Wherever it is not certain what has to be covered, everything is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor import verdict
from monitor.canonical import canonical_text, parse_json
from monitor.policy.matching import MAX_SPANS, TEXT_CAP
from monitor.records import Action, Observation, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.records import Finding, Judgement, Span

COVER = "█"
_RAW = "raw"


def redacted(observation: Observation, judgement: Judgement) -> Observation:
    """The observation as it is released: unchanged where no finding asks for ``redact``.

    A finding covers its evidence in what came back: reasoning, output, error message and tool calls. Evidence in the
    raw reply covers the same words in reasoning and output. All of it is covered where a rule could not be evaluated,
    where it matched facts and not texts, where it matched in more places than its evidence lists, and where the words
    of the raw reply are not found again; of a text that is longer than rules read, all that they did not read.
    Evidence in what was handed over only covers nothing: nobody gets that back.
    """
    spoke = [finding for finding in judgement.findings if finding.status is not Status.NO_MATCH]
    asking = [finding for finding in spoke if verdict.effective_action(finding) is Action.REDACT]
    if not asking:
        return observation
    covers = _Covers(observation)
    for finding in asking:
        covers.add(finding)
    return covers.apply()


class _Covers:
    """Which parts of which texts of one observation are to be covered."""

    def __init__(self, observation: Observation) -> None:
        self._seen = observation
        self._texts = _texts_of(observation)
        self._spans: dict[str, list[tuple[int, int]]] = {name: [] for name in self._texts}

    def add(self, finding: Finding) -> None:
        """Take one finding's evidence into account."""
        if finding.status is not Status.MATCH or not finding.evidence or _is_cut_off(finding.evidence):
            self._cover_everything()
        for name, text in self._texts.items():
            self._spans[name] += [(TEXT_CAP, len(text))] if len(text) > TEXT_CAP else []  # nobody read what is there
        for span in finding.evidence:
            if span.surface == _RAW:
                self._cover_words((self._seen.raw or self._seen.output)[span.start : span.end])
            elif span.surface in self._spans:
                self._spans[span.surface].append((span.start, span.end))
            elif span.surface.startswith("tool_calls["):
                self._cover_everything()  # a name, which nothing can cover, or a call that this observation does not have

    def _cover_everything(self) -> None:
        for name, text in self._texts.items():
            self._spans[name].append((0, len(text)))

    def _cover_words(self, words: str) -> None:
        """Cover each place where ``words`` stand in reasoning or output; all of both where they stand in neither."""
        found = {name: list(_places(words, self._texts[name])) for name in ("reasoning", "output")}
        if not words or not any(found.values()):
            self._cover_everything()
        for name, spans in found.items():
            self._spans[name].extend(spans)

    def apply(self) -> Observation:
        """The observation with all that was added covered."""
        if not any(self._spans.values()):
            return self._seen
        covered = {name: _cover(text, self._spans[name]) for name, text in self._texts.items()}
        seen = self._seen
        is_json = _is_object(seen.output)
        return seen.model_copy(
            update={
                "output": _as_json(seen.output, covered["output"]) if is_json else covered["output"],
                "raw": "",  # the reply word for word would tell it all again
                "reasoning": seen.reasoning.model_copy(update={"text": covered["reasoning"]}),
                "error": seen.error and seen.error.model_copy(update={"message": covered["error"]}),
                "tool_calls": tuple(
                    call.model_copy(
                        update={"arguments": _as_json(call.arguments, covered[f"tool_calls[{index}].arguments"])}
                    )
                    for index, call in enumerate(seen.tool_calls)
                ),
                "tokens": None,
            }
        )


def _texts_of(observation: Observation) -> dict[str, str]:
    texts = {"reasoning": observation.reasoning.text, "output": observation.output}
    texts["error"] = observation.error.message if observation.error else ""
    for index, call in enumerate(observation.tool_calls):
        texts[f"tool_calls[{index}].arguments"] = call.arguments
    return texts


def _places(words: str, text: str) -> Iterator[tuple[int, int]]:
    """Where ``words`` stand in ``text``, one after the other."""
    at = text.find(words) if words else -1
    while at >= 0:
        yield at, at + len(words)
        at = text.find(words, at + len(words))


def _is_cut_off(evidence: Sequence[Span]) -> bool:
    """Whether some clause has as much evidence as is ever listed: then there may be more of it than is known."""
    counts: dict[str, int] = {}
    for span in evidence:
        counts[span.clause] = counts.get(span.clause, 0) + 1
    return max(counts.values(), default=0) >= MAX_SPANS


def _cover(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """``text`` with the codepoints of ``spans`` (half open, in any order, overlapping or not) covered."""
    parts, at = [], 0
    for start, end in sorted(spans):
        parts += [text[at:start], COVER * (min(end, len(text)) - max(start, at))]
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _is_object(text: str) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False


def _as_json(original: str, covered: str) -> str:
    """``covered`` if it is still an object with the same names, else the original with every value covered.

    Evidence may reach over quotes and braces; what reads JSON must still be able to.
    """
    if covered == original:
        return original
    try:
        before = parse_json(original)
    except ValueError:
        return covered  # it never was JSON
    try:
        if _names(parse_json(covered)) == _names(before):
            return covered
    except ValueError:
        pass
    return canonical_text(_blank(before))


def _names(value: Any) -> Any:
    """The shape of a JSON value: its names and the lengths of its lists."""
    if isinstance(value, dict):
        return {name: _names(item) for name, item in value.items()}
    return [_names(item) for item in value] if isinstance(value, list) else None


def _blank(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _blank(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_blank(item) for item in value]
    return COVER * len(value) if isinstance(value, str) else None
