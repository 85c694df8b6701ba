"""Tools for roles: a Python function with type hints, told to the model by its JSON Schema, run only when allowed.

Allowed means: named in the role's ``tools`` and handed to the subcall by the recipe. A tool runs only after the model
call that asked for it is committed and judged, and is a subcall of its own: stored, checked, and charged as one
``tool_calls`` before its result reaches the model.

A function's keyword-only parameters are **options**: the recipe binds them, the model neither sees nor sets them. Those
annotated with ``pathlib.Path`` name what an isolated tool may read: see ``confinement``.
"""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ArgsKwargs

from monitor.canonical import canonical_text, escape_text, parse_json
from monitor.errors import RecipeError
from monitor.models.base import ToolSpec
from monitor.orchestrate.threads import in_thread
from monitor.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from monitor.orchestrate.confinement import Confinement
    from monitor.records import ToolCall

_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


class ToolError(Exception):
    """A tool could not do what it was asked; the message goes to the model and into the record."""


@dataclass(frozen=True)
class BoundTool:
    """A tool, by name or as a function, with options that the model never sees: see ``tool``."""

    tool: str | Callable[..., Any]
    options: Mapping[str, Any]


ToolChoice: TypeAlias = "str | BoundTool | Callable[..., Any]"
"""What a recipe hands to a role: a name, a function, or either with its options bound."""


def tool(tool: str | Callable[..., Any], /, **options: Any) -> BoundTool:
    """Bind options of a tool: ``monitor.tool("read_file", folder="notes")``.

    Options are the keyword-only parameters of its function. Relative paths are relative to the working directory. Wrong
    options are told where the tool is handed to a role.
    """
    return BoundTool(tool, options)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a tool's function takes: ``parameters`` that the model gives, ``options`` that the recipe binds."""

    spec: ToolSpec
    arguments: TypeAdapter[dict[str, Any]]
    parameters: Mapping[str, Any]
    options: Mapping[str, inspect.Parameter]
    required: frozenset[str]

    @property
    def paths(self) -> tuple[str, ...]:
        """The options that are paths: annotated with ``Path``, or ``Path | None``."""
        return tuple(name for name, option in self.options.items() if Path in _alternatives(option.annotation))


_signatures: WeakKeyDictionary[Callable[..., Any], Signature] = WeakKeyDictionary()


def signature_of(function: Callable[..., Any]) -> Signature:
    """Read a function once for each process: its docstring is the description, its type hints are the parameters.

    Raises:
        RecipeError: it cannot be a tool.
    """
    if function not in _signatures:
        _signatures[function] = _read(function)
    return _signatures[function]


def _read(function: Callable[..., Any]) -> Signature:
    name = getattr(function, "__name__", type(function).__name__)
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError) as exc:
        raise RecipeError(f"{name} cannot be a tool, its type hints cannot be read: {exc}") from exc
    if odd := [item.name for item in parameters if item.kind not in _NAMED]:
        raise RecipeError(
            f"{name} cannot be a tool: {', '.join(odd)} has no name that a model could give it a value by"
        )
    typed = [item.replace(annotation=hints.get(item.name, Any)) for item in parameters]
    given = [item for item in typed if item.kind is not inspect.Parameter.KEYWORD_ONLY]
    options = {item.name: item for item in typed if item.kind is inspect.Parameter.KEYWORD_ONLY}

    def bind(*arguments: Any, **named: Any) -> dict[str, Any]:
        return asked.bind(*arguments, **named).arguments

    asked = inspect.Signature(given)
    bind.__signature__ = asked  # type: ignore[attr-defined]  # what pydantic reads, as inspect does
    bind.__annotations__ = {item.name: item.annotation for item in given}
    try:
        adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(bind)  # type: ignore[arg-type]  # pydantic takes functions as well
        schema = adapter.json_schema()
    except PydanticUserError as exc:
        raise RecipeError(f"{name} cannot be a tool, a model cannot be told its parameters: {exc.message}") from exc
    description = (inspect.getdoc(function) or "").strip()
    return Signature(
        spec=ToolSpec(name=name, description=description, parameters=schema),
        arguments=adapter,
        parameters=bind.__annotations__,
        options=options,
        required=frozenset(name for name, item in options.items() if item.default is inspect.Parameter.empty),
    )


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: what the model is told of it, the function behind it, its options, and what confines it (None: nothing)."""

    spec: ToolSpec
    function: Callable[..., Any]
    signature: Signature
    options: Mapping[str, Any] = field(default_factory=dict)
    confinement: Confinement | None = None

    @classmethod
    def of(cls, function: Callable[..., Any], options: Mapping[str, Any] | None = None) -> Tool:
        """Make a tool of a function and its options.

        Raises:
            RecipeError: it cannot be a tool, or the options are not its own.
        """
        signature = signature_of(function)
        return cls(signature.spec, function, signature, _checked(signature, options or {}))

    @property
    def is_apart(self) -> bool:
        """Whether it runs in a process or thread of its own, and so takes a place under ``concurrency``.

        A coroutine in the recipe's loop takes none: it may make calls itself, and each of those waits for a place.
        """
        return self.confinement is not None or not inspect.iscoroutinefunction(self.function)

    async def run(self, tool_call: ToolCall) -> str:
        """Run the tool on the call's arguments; text is returned as it is, anything else as canonical JSON.

        Raises:
            ToolError: the arguments do not fit, or the function raised; or it could not be confined.
        """
        try:
            arguments = parse_json(tool_call.arguments or "{}")
            bound = self.signature.arguments.validate_python(ArgsKwargs((), arguments))
        except ValidationError as exc:
            raise ToolError(f"the arguments do not fit: {_faults(exc)}") from exc
        if self.confinement:
            return await self.confinement.run(self, bound)
        try:
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(**bound, **self.options)
            else:
                result = await in_thread(f"tool-{self.spec.name}", lambda: self.function(**bound, **self.options))
            return as_text(result)
        except (Exception, SystemExit) as exc:
            raise ToolError(f"{type(exc).__name__}: {exc}") from exc


def as_text(result: Any) -> str:
    """A tool's result as the record has it. Raises TypeError for what is neither text nor JSON."""
    return escape_text(result) if isinstance(result, str) else canonical_text(result)


def is_plain(hint: Any) -> bool:
    """Whether values of a type hint are JSON as they are, and can be handed to another process."""
    if hint in {Any, str, int, float, bool, None, type(None), list, dict}:
        return True
    origin = get_origin(hint)
    if origin is Annotated:
        return is_plain(get_args(hint)[0])
    if origin in {list, dict, Union, types.UnionType}:
        return all(is_plain(part) for part in get_args(hint))
    if origin is not None:  # Literal among others
        return all(isinstance(part, (str, int, bool, type(None))) for part in get_args(hint))
    if not hasattr(hint, "__required_keys__"):  # of a TypedDict
        return False
    return all(is_plain(part) for part in get_type_hints(hint).values())


def _checked(signature: Signature, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as their types say; paths resolved, and there. Raises RecipeError."""
    name = signature.spec.name
    known = signature.options
    for option in options:
        if option not in known:
            listed = ", ".join(known) or "none"
            raise RecipeError(f"tool {name} has no option {option}{nearest(option, known)}; its options: {listed}")
    if missing := sorted(signature.required - options.keys()):
        example = ", ".join(f"{option}=…" for option in missing)
        raise RecipeError(f'tool {name} needs {", ".join(missing)}: hand it over as monitor.tool("{name}", {example})')
    checked: dict[str, Any] = {}
    for option, value in options.items():
        try:
            checked[option] = TypeAdapter(known[option].annotation).validate_python(value)
        except ValidationError as exc:
            raise RecipeError(f"tool {name}, option {option}: {_faults(exc)}") from exc
        if option in signature.paths and checked[option] is not None:
            try:
                checked[option] = checked[option].expanduser().resolve(strict=True)
            except (OSError, RuntimeError) as exc:
                raise RecipeError(f"tool {name}, option {option}: cannot find {value}: {exc}") from exc
    return checked


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")
        for fault in error.errors(include_input=False, include_url=False)
    )


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """A type hint as the list of its alternatives: ``Path | None`` as Path and None's type."""
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
