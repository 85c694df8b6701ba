"""What a recipe works with: it can call a role, map over many, nest another recipe, and do nothing else.

A context has a scope (its path in the run), a place in the tree and a budget. Every call goes through the engine, and so
through the one door; a recipe only ever holds answers that were committed, judged and released.
"""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import TypeAdapter, ValidationError

from monitor.canonical import fingerprint
from monitor.errors import RecipeError, SubcallError
from monitor.models.base import ModelRequest
from monitor.orchestrate.calls import Step
from monitor.orchestrate.conversation import Answer, Conversation
from monitor.records import Limits, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from monitor.models.base import ModelClient
    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.engine import Engine
    from monitor.orchestrate.roles import Role
    from monitor.orchestrate.tools import Tool, ToolChoice


@dataclass(frozen=True, slots=True)
class CallSize:
    """What a call would take, in tokens: its input at most, its longest answer, and the model's context if it is known."""

    input_tokens: int
    output_tokens: int
    context_tokens: int | None


class Workplace(Protocol):
    """Where contexts get their parts from: see ``workplace.Workplace``."""

    def role(self, name: str) -> Role:
        """The role of that name or path. Raises CatalogError, RoleError."""
        ...

    def tools(self, choices: Sequence[ToolChoice], role: Role) -> tuple[Tool, ...]:
        """The tools that are handed to a role. Raises CatalogError, RecipeError."""
        ...

    def client(self, model: str | ModelClient | None) -> ModelClient:
        """The client of a model's name; None is the run's model. Raises ConfigError."""
        ...

    def recipe(self, name: str) -> tuple[str, Callable[..., Awaitable[Any]], Workplace]:
        """The name and function of a recipe, and the workplace as seen from it. Raises CatalogError, RecipeError."""
        ...


@dataclass(frozen=True)
class Context:
    """One place in a run, handed to a recipe as its first argument."""

    engine: Engine
    workplace: Workplace
    budget: Budget
    recipe_name: str
    concurrency: int
    scope: str = ""
    parent_id: str | None = None
    depth: int = 0

    def call(
        self,
        role: str,
        *,
        under: Answer | None = None,
        model: str | ModelClient | None = None,
        budget: Limits | None = None,
        tools: Sequence[ToolChoice] = (),
        checked: bool = True,
        **inputs: Any,
    ) -> Awaitable[Answer]:
        """Call a role once, with ``inputs`` and nothing else in its sight; await the result for the answer.

        ``under`` hangs the subcall below an earlier answer in the tree. ``budget`` adds limits to the role's own. ``tools``
        are what the role may use: names, functions, or either with its options bound by ``monitor.tool``; each must be in
        the role's list. With ``checked=False`` no check looks at the subcall or its tool calls: it is stored, its verdict
        is ``unmeasured``, and the run's says so. The step is named here, not when it is awaited, so that the same program
        names the same steps in every execution.

        Raises (when awaited):
            SubcallError: it ended without an answer: BudgetExceeded, Blocked, SubcallFailed …
            ConfigError: no such role, model or tool, an input is missing, a tool is not in the role's list.
        """
        conversation = self.converse(
            role, under=under, model=model, budget=budget, tools=tools, checked=checked, **inputs
        )
        return conversation.to_the_end()

    def converse(
        self,
        role: str,
        *,
        under: Answer | None = None,
        model: str | ModelClient | None = None,
        budget: Limits | None = None,
        tools: Sequence[ToolChoice] = (),
        checked: bool = True,
        **inputs: Any,
    ) -> Conversation:
        """A call of a role whose turns are taken one by one, for a loop of your own. Parameters and errors are ``call``'s.

        Nothing is asked before the first turn is taken.
        """
        chosen = self.workplace.role(role)
        client = self.workplace.client(model if model is not None else chosen.model)
        allowed = self.workplace.tools(tools, chosen)
        messages = _messages(chosen, inputs)
        name = fingerprint(self.scope, "call", chosen.name, client.name, [m.content for m in messages])
        scope = f"{self.scope}/{chosen.name}:{self.engine.name_step(name)}"
        depth = (under.depth if under else self.depth) + 1
        already = self.engine.spent_in(scope)
        account = self.budget.child(chosen.name, chosen.budget, depth=depth, already=already)
        if budget is not None:
            account = account.child(chosen.name, budget, depth=depth, already=already)
        task = inputs.get("task")
        step = Step(
            role=chosen,
            client=client,
            messages=messages,
            task=task if isinstance(task, str) else messages[-1].content,
            scope=scope,
            parent_id=under.span_id if under else self.parent_id,
            depth=depth,
            budget=account,
            tools=allowed,
            recipe=self.recipe_name,
            checked=checked,
        )
        return Conversation(self.engine, step)

    async def map(
        self,
        role: str,
        items: Iterable[Mapping[str, Any]],
        *,
        under: Answer | None = None,
        concurrency: int | None = None,
        **call_options: Any,
    ) -> list[Answer]:
        """Call a role on each item's inputs, at most ``concurrency`` at a time; answers come in the order of the items.

        The first subcall that ends without an answer cancels the others and raises.
        """
        calls = [lambda item=item: self.call(role, under=under, **call_options, **item) for item in items]
        return await self.gather(calls, concurrency=concurrency)

    async def measure(self, role: str, *, model: str | ModelClient | None = None, **inputs: Any) -> CallSize:
        """What a call of ``role`` with ``inputs`` would take: exact by the model's own tokenizer, else bounded by bytes.

        Nothing is called, stored or charged. Raises ProviderError where the prompt cannot be counted, and ConfigError as
        ``call`` does.
        """
        chosen = self.workplace.role(role)
        client = self.workplace.client(model if model is not None else chosen.model)
        request = ModelRequest(
            messages=_messages(chosen, inputs), max_output_tokens=chosen.max_output_tokens, output_schema=chosen.output
        )
        bound = await client.bound_input(request)
        return CallSize(bound.tokens, chosen.max_output_tokens, client.context_tokens)

    async def gather(
        self, calls: Sequence[Callable[[], Awaitable[Any]]], *, concurrency: int | None = None
    ) -> list[Any]:
        """Await what each of ``calls`` returns, at most ``concurrency`` at a time; results come in their order.

        The first error cancels the others and is raised.
        """
        gate = asyncio.Semaphore(concurrency or self.concurrency)
        # Named in order before any of them starts: see ``call``.
        named = [call() for call in calls]

        failed = False

        async def one(work: Awaitable[Any]) -> Any:
            nonlocal failed
            async with gate:
                if failed:  # what was waiting for this place is cancelled in a moment: it shall not start before
                    raise asyncio.CancelledError
                try:
                    return await contained(work)
                except BaseException:
                    failed = True
                    raise

        tasks = [asyncio.ensure_future(one(work)) for work in named]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for work in named:
                if inspect.iscoroutine(work):
                    work.close()  # a coroutine that never started would warn; closing a finished one does nothing

    async def queue_for_review(self, subject: Answer | SubcallError, why: str, *, score: float = 0.0) -> None:
        """Put a subcall before a person for later: an answer, or one that ended otherwise. Nothing waits for them.

        ``score`` orders the queue, the most suspicious first.
        """
        await self.engine.queue(subject.span_id, why, score)

    def nest(self, name: str, *, under: Answer | None = None, budget: Limits | None = None) -> Context:
        """A context below this one, with limits of its own that draw from this one's."""
        scope = f"{self.scope}/{name}:{self.engine.name_step(fingerprint(self.scope, 'nest', name))}"
        depth = under.depth if under else self.depth
        account = self.budget.child(name, budget or Limits(), depth=depth, already=self.engine.spent_in(scope))
        parent_id = under.span_id if under else self.parent_id
        return replace(self, budget=account, scope=scope, parent_id=parent_id, depth=depth)

    def recipe(
        self, name: str, task: str, *, under: Answer | None = None, budget: Limits | None = None, **options: Any
    ) -> Awaitable[Any]:
        """Run another recipe inside this run, in a context below this one; await the result for what it returns."""
        found, function, beside = self.workplace.recipe(name)
        nested = replace(self.nest(found, under=under, budget=budget), recipe_name=found, workplace=beside)
        return function(nested, task, **recipe_options(function, options))


def _messages(role: Role, inputs: Mapping[str, Any]) -> tuple[Message, ...]:
    try:
        return role.messages(dict(inputs))
    except ValueError as exc:
        raise RecipeError(str(exc)) from exc


async def contained(work: Awaitable[Any]) -> Any:
    """Await a recipe's own code; ``sys.exit`` in it fails the recipe, instead of ending the event loop and all in it."""
    try:
        return await work
    except SystemExit as exc:
        raise RecipeError(f"the recipe called sys.exit({exc.code!r}): return an answer or raise an error") from exc


def recipe_options(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for a recipe, turned into the types of its parameters (``"2"`` into 2). Raises RecipeError."""
    parameters = dict(list(inspect.signature(function).parameters.items())[2:])
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise RecipeError(f"recipe {function.__name__} has no option {name}; its options: {known}")
        try:
            checked[name] = TypeAdapter(_type_of(function, parameters[name])).validate_python(value)
        except ValidationError as exc:
            problem = exc.errors(include_url=False)[0]["msg"]
            raise RecipeError(f"option {name} of recipe {function.__name__}: {problem}; found {value!r}") from exc
    try:
        inspect.signature(function).bind(None, "", **checked)
    except TypeError as exc:
        raise RecipeError(
            f"recipe {function.__name__} takes a context, a task and options (--set NAME=VALUE): {exc}"
        ) from exc
    return checked


def _type_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The type of one parameter. Written annotations are evaluated one by one: a recipe may import ``Context`` only for
    type checkers.
    """
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, function.__globals__)  # noqa: S307 - the recipe's own code, which has run already
    except NameError as exc:
        raise RecipeError(
            f"the type of option {parameter.name} of recipe {function.__name__} cannot be read ({exc}): "
            "import it outside of TYPE_CHECKING"
        ) from exc
