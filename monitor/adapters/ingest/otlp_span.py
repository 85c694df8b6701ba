"""One span of a model or a tool, read into a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.adapters.ingest.messages import as_json, read_message, read_messages, together, tool_names
from monitor.adapters.ingest.traces import Step, count_of, number_of, seconds_of, tool_usage, whole_number
from monitor.adapters.otel import contents
from monitor.adapters.otel.mapping import EXCEPTION_EVENT
from monitor.adapters.otel.spans import structured, time_of
from monitor.canonical import escape_text
from monitor.records import ErrorInfo, Observation, Outcome, Usage, now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.adapters.ingest.traces import Tree
    from monitor.adapters.otel.spans import Span


class Places:
    """Where each span of a trace stands in its tree; ``spans`` are all of the trace that are known."""

    def __init__(self, spans: Mapping[str, Span]) -> None:
        self._spans = spans
        self._depths: dict[str, int] = {}

    def below(self, span: Span) -> str:
        """The nearest span around it that is (or will be) a subcall, or the first that is not known; none at the top."""
        above, seen = span.parent_id, {span.span_id}
        while above:
            if above in seen:
                return ""  # spans around each other: none of them is above the others
            seen.add(above)
            found = self._spans.get(above)
            if found is None or found.kind:
                return "" if self._is_circle(span, above) else above
            above = found.parent_id
        return ""

    def depth(self, span: Span) -> int:
        """How many subcalls there are from the run to it, as far as they are known; 1 is right below the run."""
        path: list[str] = []
        at: Span | None = span
        while at is not None and at.span_id not in self._depths:
            path.append(at.span_id)
            at = self._spans.get(self.below(at))
        depth = self._depths[at.span_id] if at else 0
        for span_id in reversed(path):
            depth += 1
            self._depths[span_id] = depth
        return depth

    def is_settled(self, span: Span) -> bool:
        """Whether all that is around it is known and has ended: nothing that comes can then change its place."""
        above, seen = span.parent_id, {span.span_id}
        while above and above not in seen:
            seen.add(above)
            found = self._spans.get(above)
            if found is None or not found.end:
                return False
            above = found.parent_id
        return True

    def _is_circle(self, span: Span, above: str) -> bool:
        """Whether a span is above the one that is above it."""
        seen: set[str] = set()
        while above in self._spans and above not in seen:
            if above == span.span_id:
                return True
            seen.add(above)
            above = self._spans[above].parent_id
        return False


class SpanReader:
    """Reads one span; ``spans`` are all of its trace that are known."""

    def __init__(self, tree: Tree, span: Span, spans: Mapping[str, Span]) -> None:
        self._tree, self._span, self._spans = tree, span, spans

    def step(self, places: Places) -> Step:
        """The step. Raises Broken."""
        common: dict[str, Any] = {
            "span_id": self._span.span_id,
            "below": places.below(self._span),
            "depth": places.depth(self._span),
            "at": time_of(self._span.start),
        }
        return self._tool(common) if self._span.kind == "tool" else self._model(common)

    def _role(self) -> str:
        """The agent's name where the span or one around it has it, else the span's own."""
        span: Span | None = self._span
        seen: set[str] = set()
        while span is not None and span.span_id not in seen:
            seen.add(span.span_id)
            if name := span.word("agent"):
                return name
            span = self._spans.get(span.parent_id)
        return self._span.name or "model"

    def _model(self, common: dict[str, Any]) -> Step:
        span = self._span
        prompt = tuple(one.message for one in read_messages(contents.prompt_of(span), "input"))
        answers = contents.answers_of(span)
        temperature, longest, seed = span.get("temperature"), span.get("max_tokens"), span.get("seed")
        call = self._tree.call(
            f"span {span.span_id}",
            self._role(),
            messages=prompt,
            model=escape_text(span.word("model")),
            tools=tool_names(contents.tools_of(span)),
            task=next((said.content for said in prompt if said.role == "user"), ""),
            temperature=number_of(temperature),
            max_output_tokens=count_of(longest),
            seed=whole_number(seed),
            checked=bool(prompt or answers),
            **common,
        )
        usage = self._usage()
        observation = Observation(
            outcome=self._outcome(),
            error=self._error("model"),
            usage=usage or Usage(calls=1),
            usage_reported=usage is not None,
            model_reported=escape_text(span.word("model_reported")),
            finish_reason=self._finish(answers[0] if answers else None),
            seconds=seconds_of((span.end - span.start) / 1e9),
            at=time_of(span.end) or now(),
        )
        if answers:
            said = together([read_message(answer, f"output[{index}]") for index, answer in enumerate(answers)])
            heard = {"output": said.output, "raw": said.raw, "reasoning": said.reasoning}
            observation = observation.model_copy(update={**heard, "tool_calls": said.message.tool_calls})
        return Step(call, observation)

    def _tool(self, common: dict[str, Any]) -> Step:
        span = self._span
        name = escape_text(span.word("tool") or span.name.removeprefix("execute_tool ") or "tool")
        arguments, result = span.get("tool_arguments"), span.get("tool_result")
        call = self._tree.call(
            f"span {span.span_id}",
            name,
            kind="tool",
            task=escape_text(as_json(arguments)),
            tools=(name,),
            checked=arguments is not None or result is not None,
            **common,
        )
        return Step(
            call,
            Observation(
                outcome=self._outcome(),
                output=escape_text(_result(result)),
                error=self._error("tool"),
                usage=tool_usage(),
                seconds=seconds_of((span.end - span.start) / 1e9),
                at=time_of(span.end) or now(),
            ),
        )

    def _outcome(self) -> Outcome:
        if not self._span.end:
            return Outcome.CANCELLED
        return Outcome.FAILED if self._span.is_error else Outcome.OK

    def _error(self, kind: str) -> ErrorInfo | None:
        span = self._span
        if not span.end:
            return ErrorInfo(kind="cancelled", message="nobody sent the end of this span")
        if not span.is_error:
            return None
        said = [one.says.get("exception.message") for one in span.happenings if one.name == EXCEPTION_EVENT]
        texts = [span.message, *said, span.word("error"), "the span says no more than that it failed"]
        return ErrorInfo(kind=kind, message=escape_text(next(one for one in texts if isinstance(one, str) and one)))

    def _finish(self, answer: Mapping[str, Any] | None) -> str:
        given = self._span.get("finish_reasons")
        first = given[0] if isinstance(given, list) and given else given
        found = first if isinstance(first, str) else (answer or {}).get("finish_reason")
        return escape_text(found) if isinstance(found, str) else ""

    def _usage(self) -> Usage | None:
        names = ("input_tokens", "output_tokens", "cached_tokens")
        sent, received, cached = (count_of(self._span.get(name)) for name in names)
        if sent is None or received is None:
            return None
        return Usage(calls=1, input_tokens=sent, output_tokens=received, cached_tokens=min(cached or 0, sent))


def _result(value: Any) -> str:
    """What a tool answered. LangChain's message around it, which OpenInference writes down, is taken off."""
    given = structured(value)
    if isinstance(given, dict) and given.get("type") == "tool" and isinstance(given.get("data"), dict):
        content = given["data"].get("content")
        if isinstance(content, str):
            return content
    return as_json(value)
