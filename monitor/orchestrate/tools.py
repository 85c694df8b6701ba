"""Tools for roles: a Python function with type hints, told to the model by its JSON Schema, run only when allowed.

Allowed means: named in the role's ``tools`` and handed to the subcall by the recipe. A tool runs only after the model
call that asked for it is committed and judged, and is a subcall of its own: stored, checked, and charged as one
``tool_calls`` before its result reaches the model.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError, validate_call

from monitor.canonical import canonical_text, escape_text, parse_json
from monitor.models.base import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.records import ToolCall


class ToolError(Exception):
    """A tool could not do what it was asked; the message goes to the model and into the record."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its name, what the model is told of it, and the function behind it."""

    spec: ToolSpec
    function: Callable[..., Any]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Tool:
        """Make a tool of a function; its docstring is the description, its type hints are the parameters."""
        adapter: TypeAdapter[Any] = TypeAdapter(function)  # type: ignore[arg-type]  # pydantic takes functions as well
        schema = adapter.json_schema()
        description = (inspect.getdoc(function) or "").strip()
        return cls(ToolSpec(name=function.__name__, description=description, parameters=schema), function)

    async def run(self, tool_call: ToolCall) -> str:
        """Run the tool on the call's arguments; text is returned as it is, anything else as canonical JSON.

        Raises:
            ToolError: the arguments do not fit, or the function raised.
        """
        arguments = parse_json(tool_call.arguments or "{}")
        checked = validate_call(self.function)
        try:
            if inspect.iscoroutinefunction(self.function):
                result = await checked(**arguments)
            else:
                result = await _in_thread(self.spec.name, checked, arguments)
            return escape_text(result) if isinstance(result, str) else canonical_text(result)
        except ValidationError as exc:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_input=False))
            raise ToolError(f"the arguments do not fit: {faults}") from exc
        except (Exception, SystemExit) as exc:
            raise ToolError(f"{type(exc).__name__}: {exc}") from exc


async def _in_thread(name: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call ``function`` in a thread of its own, and return or raise what it does.

    Unlike the threads of ``asyncio.to_thread`` it keeps neither the event loop nor the interpreter from ending: a tool that
    hangs is no longer waited for once its caller is cancelled.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def tell(result: Any, error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result((result, error))

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(lambda: function(**arguments))
        except BaseException as exc:  # noqa: BLE001 - raised again where the tool is awaited
            error = exc
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=work, name=f"monitor-tool-{name}", daemon=True).start()
    result, error = await ended
    if error is not None:
        raise error
    return result
