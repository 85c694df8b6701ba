"""Scripts for the scripted model as files, so that demonstrations and the command line can use it.

context_tokens: 4096                  # all of these are optional
price: {input: 0.15, output: 0.60}    # US dollars per million tokens; `price: unknown`; free by default
steps:
  - when: sub-questions               # for requests whose last message contains this text
    text: {reasoning: Two parts., questions: [First?, Second?]}    # a mapping or list is written as JSON
    times: forever                    # once by default; a number, or `forever`
  - reasoning: Let me think.
    text: Paris.
    delay: 0.2                        # seconds
    finish_reason: stop
    usage: {input_tokens: 900, output_tokens: 12}     # counted by default; `none` to report nothing
    tool_calls: [{name: search, arguments: {query: Paris}}]
  - chunks: [half of an ans]          # what arrives before the error, or before it hangs
    error: {kind: rate_limit, status: 429, message: slow down}
  - hang: true
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from monitor.errors import ConfigError, ProviderError
from monitor.models.base import ModelRequest, ReportedUsage
from monitor.models.pricing import FREE, FlatPrice
from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import ReasoningState, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.models.base import Price


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Error(_Part):
    kind: Literal["rate_limit", "server_error", "auth", "bad_request", "timeout", "connection", "invalid_response"]
    message: str = "a scripted error"
    status: int | None = None
    retryable: bool | None = None
    billed_unknown: bool | None = None

    def error(self) -> ProviderError:
        """The error, with the flags that go with its kind where the script does not set them."""
        retryable = self.kind in {"rate_limit", "server_error", "timeout", "connection"}
        unknown = self.status is None and self.kind in {"timeout", "connection", "invalid_response"}
        return ProviderError(
            self.message,
            kind=self.kind,
            status=self.status,
            retryable=retryable if self.retryable is None else self.retryable,
            billed_unknown=unknown if self.billed_unknown is None else self.billed_unknown,
        )


class _ToolCall(_Part):
    name: str
    arguments: Any = Field(default_factory=dict)
    id: str = ""


class _Usage(_Part):
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    cached_tokens: int = Field(default=0, ge=0)


class _Price(_Part):
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)


class _Step(_Part):
    when: str | None = None
    text: Any = ""
    reasoning: str = ""
    reasoning_state: ReasoningState | None = None
    tool_calls: tuple[_ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: _Usage | Literal["counted", "none"] = "counted"
    delay: float = Field(default=0.0, ge=0)
    chunks: tuple[str, ...] | None = None
    error: _Error | None = None
    hang: bool = False
    times: int | Literal["forever"] = 1

    def reply(self) -> Reply:
        """The step as the scripted model plays it."""
        calls = tuple(
            ToolCall(id=call.id or f"call_{index}", name=call.name, arguments=_text(call.arguments))
            for index, call in enumerate(self.tool_calls)
        )
        return Reply(
            text=_text(self.text),
            reasoning=self.reasoning,
            reasoning_state=self.reasoning_state,
            tool_calls=calls,
            finish_reason=self.finish_reason or ("tool_calls" if calls else "stop"),
            usage=self._usage(),
            delay=self.delay,
            chunks=self.chunks,
            error=self.error.error() if self.error else None,
            hang=self.hang,
            when=_contains(self.when) if self.when is not None else None,
            times=None if self.times == "forever" else self.times,
        )

    def _usage(self) -> ReportedUsage | str | None:
        if isinstance(self.usage, _Usage):
            return ReportedUsage(self.usage.input_tokens, self.usage.output_tokens, self.usage.cached_tokens)
        return None if self.usage == "none" else "counted"


class _Script(_Part):
    context_tokens: int | None = Field(default=None, gt=0)
    price: _Price | Literal["free", "unknown"] = "free"
    steps: tuple[_Step, ...] = Field(min_length=1)

    def list_price(self) -> Price | None:
        """The script's price; None where it says that it is unknown."""
        if isinstance(self.price, _Price):
            return FlatPrice(self.price.input, self.price.output, self.price.cached)
        return FREE if self.price == "free" else None


def load(path: Path) -> ScriptedModel:
    """A scripted model from a YAML or JSON file; its name is ``scripted:`` and the path.

    Raises:
        ConfigError: the file cannot be read, or is not a script; the message has every fault.
    """
    try:
        loader = YAML(typ="safe", pure=True)
        script = _Script.model_validate(loader.load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc
    except YAMLError as exc:
        raise ConfigError(f"{path}: not YAML: {exc}") from exc
    except ValidationError as exc:
        faults = "\n".join(
            f"{path}: {'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in exc.errors()
        )
        raise ConfigError(f"{faults}\nThe format is described in docs/models.md.") from exc
    return ScriptedModel(
        [step.reply() for step in script.steps],
        name=f"scripted:{path}",
        context_tokens=script.context_tokens,
        price=script.list_price(),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _contains(text: str) -> Callable[[ModelRequest], bool]:
    def accepts(request: ModelRequest) -> bool:
        return bool(request.messages) and text in request.messages[-1].content

    return accepts
