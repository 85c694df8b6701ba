"""``@monitor.subcall``: any Python function as a subcall. What it is given is its task, what it returns its output."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeAlias, TypeVar, cast

from monitor.adapters import passage
from monitor.adapters.observing import Standing
from monitor.adapters.openai_sdk.observed import observed
from monitor.adapters.openai_sdk.wire import Heard
from monitor.adapters.options import Options
from monitor.adapters.raised import told_by
from monitor.canonical import canonical_text, escape_json, escape_text
from monitor.errors import ConfigError, SubcallError, SubcallFailed
from monitor.orchestrate.foreign import Asked
from monitor.records import ErrorInfo, Message, Observation, Outcome, Usage, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.records import Call, StoredSubcall, Trust

P = ParamSpec("P")
T = TypeVar("T")
Kind: TypeAlias = Literal["tool", "model"]
ADAPTER = "python"


def subcall(
    role: str = "", *, kind: Kind = "tool", trust: Trust = "untrusted", name: str = "python", **options: Any
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Take every call of a function through the door: stored, checked, and its result withheld where a rule says so.

    Works on functions, coroutine functions and generators of both kinds; what a generator yields is handed on once all
    of it is judged. A plain function that returns a coroutine or an iterator (an open file, too) is refused. Arguments
    and result are stored as JSON (what is no JSON, by its ``repr``).

    Args:
        role: What the record calls it; default: the function's name.
        kind: ``tool``, or ``model`` for a function that returns what a model wrote: then reasoning in ``<think>`` tags is
            told apart from the answer, it is charged as a call, and its tokens by the bytes of what it was given and wrote.
        trust: ``trusted`` or ``untrusted``.
        name: What a run is called that the call makes for itself, where none is open.
        options: Of such a run, as ``observed_run`` takes them.

    Calling the function raises, besides what it raises itself:
        SubcallError: the result is withheld (Blocked, Rejected), or the run has no budget left.
    """
    given = Options(**options)
    if kind not in {"tool", "model"}:
        raise ConfigError(f"kind is tool or model; found {kind!r}")

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if isinstance(function, type) or not callable(function):
            raise ConfigError(f"@monitor.subcall is for functions; found {function!r}")
        told = _Told(role or function.__name__, kind, trust, name, given, function)
        if inspect.isasyncgenfunction(function):
            wrapped: Any = told.async_generator
        elif inspect.iscoroutinefunction(function):
            wrapped = told.coroutine
        elif inspect.isgeneratorfunction(function):
            wrapped = told.generator
        else:
            wrapped = told.plain
        call = _bound(wrapped, function)
        return cast("Callable[P, T]", functools.wraps(function)(call))

    return decorate


def _bound(wrapped: Any, function: Any) -> Any:
    """A function of its own for each kind, so that ``inspect`` still tells coroutines and generators apart."""
    if inspect.isasyncgenfunction(function):

        async def call_async_generator(*args: Any, **kwargs: Any) -> Any:
            async for item in wrapped(*args, **kwargs):
                yield item

        return call_async_generator
    if inspect.iscoroutinefunction(function):

        async def call_coroutine(*args: Any, **kwargs: Any) -> Any:
            return await wrapped(*args, **kwargs)

        return call_coroutine
    if inspect.isgeneratorfunction(function):

        def call_generator(*args: Any, **kwargs: Any) -> Any:
            yield from wrapped(*args, **kwargs)

        return call_generator

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    return call


class _Told:
    """One decorated function."""

    def __init__(  # noqa: PLR0917 - what ``subcall`` was given
        self, role: str, kind: Kind, trust: Trust, name: str, options: Options, function: Any
    ) -> None:
        self._role, self._kind, self._trust, self._name, self._options = role, kind, trust, name, options
        self._function = function

    def plain(self, *args: Any, **kwargs: Any) -> Any:
        return self._sync(lambda: self._function(*args, **kwargs), args, kwargs)

    def generator(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from _pieces(self._sync(lambda: list(self._function(*args, **kwargs)), args, kwargs))

    async def coroutine(self, *args: Any, **kwargs: Any) -> Any:
        return await self._async(lambda: self._function(*args, **kwargs), args, kwargs)

    async def async_generator(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async def collect() -> list[Any]:
            return [item async for item in self._function(*args, **kwargs)]

        for item in _pieces(await self._async(collect, args, kwargs)):
            yield item

    def _sync(self, function: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        asked = self._asked(args, kwargs)
        kept = _Kept()

        def work(call: Call) -> Observation:
            try:
                return kept.came(function(), call)
            except Exception as exc:  # noqa: BLE001 - raised again, once the record says so
                return kept.failed(exc, call)

        with Standing(asked.task, self._name, self._options) as place:
            return kept.released(lambda: passage.through(asked, place, work))

    async def _async(self, function: Callable[[], Awaitable[Any]], args: Any, kwargs: Any) -> Any:
        asked = self._asked(args, kwargs)
        kept = _Kept()

        async def work(call: Call) -> Observation:
            try:
                return kept.came(await function(), call)
            except Exception as exc:  # noqa: BLE001 - as above
                return kept.failed(exc, call)

        async with Standing(asked.task, self._name, self._options) as place:
            try:
                subcall = await passage.through_async(asked, place, work)
            except SubcallError as exc:
                kept.reraise(exc)
            return kept.value(subcall)

    def _asked(self, args: Any, kwargs: Any) -> Asked:
        signature = inspect.signature(self._function)
        try:
            given = dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:
            given = {"args": list(args), "kwargs": kwargs}  # the function itself will say what is wrong
        given.pop("self", None)
        task = as_text(given)
        messages = (Message(role="user", content=task),) if self._kind == "model" else ()
        return Asked(role=self._role, adapter=ADAPTER, kind=self._kind, task=task, messages=messages, trust=self._trust)


class _Kept:
    """What the function returned or raised, until it is judged."""

    def __init__(self) -> None:
        self._value: Any = None
        self._seen: Observation | None = None
        self._error: Exception | None = None

    def came(self, value: Any, call: Call) -> Observation:
        if inspect.isawaitable(value) or isinstance(value, Iterator | AsyncIterator):
            if callable(close := getattr(value, "close", None)):
                close()
            error = ConfigError(
                f"found {type(value).__name__} as the result of a subcall: what comes of it would be judged by nobody; "
                "decorate a function with async def, or with yield"
            )
            return self.failed(error, call)
        self._value = value
        if call.kind == "model":
            self._seen = observed(call, Heard(text=_written(value)), price=None, asked=call.max_output_tokens)
        else:
            usage = Usage(tool_calls=1, cost=0.0)
            self._seen = Observation(outcome=Outcome.OK, output=as_text(value), usage=usage, at=now())
        return self._seen

    def failed(self, error: Exception, call: Call) -> Observation:
        self._error = error
        info = ErrorInfo(kind=call.kind, message=told_by(error))
        is_model = call.kind == "model"  # what it has spent is not known
        usage = call.reserved if is_model else Usage(tool_calls=1, cost=0.0)
        return Observation(outcome=Outcome.FAILED, error=info, usage=usage, usage_reported=not is_model, at=now())

    def released(self, through: Callable[[], StoredSubcall]) -> Any:
        try:
            return self.value(through())
        except SubcallError as exc:
            self.reraise(exc)

    def reraise(self, exc: SubcallError) -> Any:
        """Raise the function's own error where that is how the call ended, and nothing withholds it."""
        if isinstance(exc, SubcallFailed) and not exc.withheld and self._error is not None:
            raise self._error
        raise exc

    def value(self, subcall: StoredSubcall) -> Any:
        """The value, or what stands in its place: a text that a rule redacted or a person changed."""
        seen, released = self._seen, subcall.observation
        assert seen is not None
        assert released is not None
        is_same = (seen.output, seen.reasoning) == (released.output, released.reasoning)
        return self._value if is_same else released.output


def _written(value: Any) -> str:
    """What a model wrote: a text, or the pieces of one."""
    if isinstance(value, list) and all(isinstance(piece, str) for piece in value):
        return "".join(value)
    return value if isinstance(value, str) else as_text(value)


def _pieces(value: Any) -> list[Any]:
    """What a generator hands on: what it yielded, or the one text that stands in the place of all that."""
    return value if isinstance(value, list) else [value]


def as_text(value: Any) -> str:
    """A value as the record has it: text as it is, else canonical JSON; what is no JSON by its ``repr``."""
    if isinstance(value, str):
        return escape_text(value)
    try:
        return canonical_text(escape_json(value))
    except (TypeError, ValueError):
        return escape_text(_shown(value))


def _shown(value: Any) -> str:
    """An object in words: where its class has none for ``repr``, by ``str`` and by what stands in it."""
    described: Any = type(value).__repr__
    if described is not object.__repr__:
        return repr(value)
    inside = getattr(value, "__dict__", None)
    return f"{value} {inside!r}" if inside else str(value)
