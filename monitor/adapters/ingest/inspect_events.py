"""The events of one sample of an Inspect log, as subcalls: what each model was handed and answered, what each tool did."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from monitor.adapters.ingest.messages import as_json, kind_of, read_message, read_messages, together, tool_names
from monitor.adapters.ingest.traces import Broken, Step, between, count_of, number_of, tool_usage, when, whole_number
from monitor.canonical import escape_text
from monitor.records import ErrorInfo, Observation, Outcome, Usage, now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from monitor.adapters.ingest.traces import Tree
    from monitor.records import Message

ATTACHMENT = "attachment://"
_NAMING = frozenset({"agent", "solver", "scorer"})
"""Types of Inspect's spans by whose name a model's call goes: who asked it."""


class Events:
    """The events of one sample, all of them read when it is made. Raises Broken then."""

    def __init__(self, tree: Tree, sample: Mapping[str, Any], task: str) -> None:
        self._tree, self._task = tree, task
        self._attachments = _object(sample.get("attachments"))
        self._pool = _object(sample.get("events_data")).get("messages")
        self._spans: dict[str, Mapping[str, Any]] = {}
        self._asked: dict[str, str] = {}  # a tool call's id -> the span of the model's call that asked for it
        self._inside: dict[str, str] = {}  # a span of the log -> the span of the tool that runs in it
        self._depths: dict[str, int] = {}
        self.began = ""
        events = sample.get("events") or []
        if not isinstance(events, list):
            raise Broken(f"events: expected a list, found {kind_of(events)}")
        known = [(f"events[{index}]", event) for index, event in enumerate(events) if isinstance(event, dict)]
        uuids = Counter(event.get("uuid") for _, event in known if isinstance(event.get("uuid"), str))
        self._unique = {uuid for uuid, count in uuids.items() if count == 1}
        self._learn(known)
        self._steps: list[Step] = []
        for where, event in known:
            if event.get("event") == "model":
                self._steps.append(self._model(where, event))
            elif event.get("event") == "tool":
                self._steps.append(self._tool(where, event))
        self.is_empty = not any(step.call.kind == "model" for step in self._steps)

    def steps(self) -> Iterator[Step]:
        """The subcalls in the order of the events."""
        yield from self._steps

    def _learn(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        """Go through all events once: a tool may be recorded before or after what runs inside it."""
        for where, event in events:
            kind, ident = event.get("event"), event.get("id")
            self.began = self.began or when(event.get("timestamp"))
            if kind == "span_begin" and isinstance(ident, str):
                self._spans[ident] = event
            elif kind == "tool":
                inner = event.get("agent_span_id")
                outer = event.get("span_id")
                if isinstance(inner, str):
                    self._inside[inner] = self._span(where, event)
                if isinstance(outer, str) and self._spans.get(outer, {}).get("type") == "tool":
                    self._inside[outer] = self._span(where, event)

    def _span(self, where: str, event: Mapping[str, Any]) -> str:
        uuid = event.get("uuid")
        is_id = isinstance(uuid, str) and uuid in self._unique
        return self._tree.span_id(f"uuid {uuid}" if is_id else where)

    def _above(self, event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The log's spans around an event, the innermost first."""
        ident, seen = event.get("span_id"), set()
        while isinstance(ident, str) and ident in self._spans and ident not in seen:
            seen.add(ident)
            span = self._spans[ident]
            yield span
            ident = span.get("parent_id")

    def _below(self, event: Mapping[str, Any], own: str) -> str:
        """The tool inside of which something happened, if any."""
        inside = (self._inside.get(str(span.get("id"))) for span in self._above(event))
        return next((span for span in inside if span and span != own), "")

    def _model(self, where: str, event: Mapping[str, Any]) -> Step:
        own = self._span(where, event)
        below = self._below(event, own)
        self._depths[own] = depth = self._depths.get(below, 0) + 1
        named = (span["name"] for span in self._above(event) if span.get("type") in _NAMING and _word(span, "name"))
        config = _object(event.get("config"))
        began, ended = when(event.get("timestamp")), when(event.get("completed"))
        temperature, seed, longest = (config.get(name) for name in ("temperature", "seed", "max_tokens"))
        call = self._tree.call(
            where,
            next(named, "model"),
            span_id=own,
            below=below,
            depth=depth,
            at=began,
            model=_word(event, "model"),
            task=self._task,
            messages=self._input(where, event),
            tools=tool_names(event.get("tools")),
            temperature=number_of(temperature),
            seed=whole_number(seed),
            max_output_tokens=count_of(longest),
        )
        observation = self._answer(where, event, began, ended)
        self._asked.update({asked.id: own for asked in observation.tool_calls})
        return Step(call, observation)

    def _input(self, where: str, event: Mapping[str, Any]) -> tuple[Message, ...]:
        """The messages that a model was handed: written out, or as ranges of the sample's pool of messages."""
        given, refs = event.get("input") or [], event.get("input_refs")
        if isinstance(refs, list) and not given:
            pool = self._pool
            if not isinstance(pool, list):
                raise Broken(f"{where}.input_refs: expected `events_data.messages`, found {kind_of(pool)}")
            try:
                given = [message for start, end in refs for message in pool[start:end]]
            except (TypeError, ValueError):
                raise Broken(f"{where}.input_refs: expected pairs of numbers") from None
        return tuple(one.message for one in read_messages(self._whole(given), f"{where}.input"))

    def _answer(self, where: str, event: Mapping[str, Any], began: str, ended: str) -> Observation:
        output = _object(event.get("output"))
        error = event.get("error") or output.get("error")
        usage = _usage(output.get("usage"))
        common: dict[str, Any] = {
            "usage": usage or Usage(calls=1),
            "usage_reported": usage is not None,
            "model_reported": _word(output, "model"),
            "seconds": between(began, ended),
            "at": ended or began or now(),
        }
        choices = output.get("choices") or []
        given = [_object(choice) for choice in choices] if isinstance(choices, list) else []
        answers = [
            read_message(self._whole(choice["message"]), f"{where}.output.choices[{index}].message")
            for index, choice in enumerate(given)
            if choice.get("message")
        ]
        if not answers:
            message = str(error) if error else "the log has no answer to it"
            info = ErrorInfo(kind="model", message=escape_text(message))
            return Observation(outcome=Outcome.FAILED, error=info, **common)
        said = together(answers)
        return Observation(
            outcome=Outcome.FAILED if error else Outcome.OK,
            error=ErrorInfo(kind="model", message=escape_text(str(error))) if error else None,
            output=said.output,
            raw=said.raw,
            reasoning=said.reasoning,
            tool_calls=said.message.tool_calls,
            finish_reason=_word(given[0], "stop_reason"),
            **common,
        )

    def _tool(self, where: str, event: Mapping[str, Any]) -> Step:
        own, name = self._span(where, event), _word(event, "function") or "tool"
        asked = event.get("id")
        below = (self._asked.get(asked) if isinstance(asked, str) else None) or self._below(event, own)
        self._depths[own] = depth = self._depths.get(below, 0) + 1
        began, ended = when(event.get("timestamp")), when(event.get("completed"))
        call = self._tree.call(
            where,
            name,
            kind="tool",
            span_id=own,
            below=below,
            depth=depth,
            at=began,
            task=escape_text(as_json(self._whole(event.get("arguments")))),
            tools=(name,),
        )
        error = event.get("error")
        info = None
        if isinstance(error, dict):
            info = ErrorInfo(kind="tool", message=escape_text(str(self._whole(error.get("message")))))
        output = self._whole(event.get("result"))
        shown = (
            read_message({"role": "tool", "content": output}, f"{where}.result").message.content
            if isinstance(output, (str, list))
            else escape_text(as_json(output))
        )
        return Step(
            call,
            Observation(
                outcome=Outcome.FAILED if info else Outcome.OK,
                output=shown,
                error=info,
                usage=tool_usage(),
                seconds=between(began, ended),
                at=ended or began or now(),
            ),
        )

    def _whole(self, value: Any) -> Any:
        """A value with the attachments in place of what points to them."""
        if isinstance(value, str):
            if not value.startswith(ATTACHMENT):
                return value
            found = self._attachments.get(value.removeprefix(ATTACHMENT))
            return found if isinstance(found, str) else value
        if isinstance(value, list):
            return [self._whole(item) for item in value]
        return {key: self._whole(item) for key, item in value.items()} if isinstance(value, dict) else value


def _usage(usage: Any) -> Usage | None:
    """What a model's output reports. Inspect counts cached tokens of a prompt apart; here they are among the prompt's."""
    if not isinstance(usage, dict):
        return None
    sent, received = count_of(usage.get("input_tokens")), count_of(usage.get("output_tokens"))
    if sent is None or received is None:
        return None
    cached, written = (count_of(usage.get(f"input_tokens_cache_{how}")) or 0 for how in ("read", "write"))
    total = count_of(usage.get("total_tokens"))
    whole = total - received if total is not None and total - received >= sent else sent + cached + written
    return Usage(calls=1, input_tokens=whole, cached_tokens=min(cached, whole), output_tokens=received)


def _word(value: Mapping[str, Any], name: str) -> str:
    return escape_text(value[name]) if isinstance(value.get(name), str) else ""


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
