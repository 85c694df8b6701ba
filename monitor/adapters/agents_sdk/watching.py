"""Agents of the SDK, prepared and run under observation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from monitor.adapters.agents_sdk import late, runner
from monitor.adapters.agents_sdk.models import NameOf, Told, WatchedModel, WatchedProvider
from monitor.adapters.agents_sdk.scopes import opened
from monitor.adapters.agents_sdk.sdk import load
from monitor.adapters.agents_sdk.tools import Watched
from monitor.adapters.observing import Around
from monitor.adapters.options import Options
from monitor.adapters.places import current
from monitor.errors import ConfigError, SubcallError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.models.base import Price


async def run(agent: Any, given: Any, *, name: str = "openai-agents", price: Price | None = None, **how: Any) -> Any:
    """As ``Runner.run(agent, given)``, observed: within the run that is open, else in one of its own.

    Args:
        agent: The agent to begin with. It and all agents that it can reach are prepared (see ``watch``).
        given: What it is asked, as ``Runner.run`` takes it.
        name: What a run of its own is called.
        price: The price of the agents' models; default: the list price at OpenAI's and Azure's endpoints.
        how: ``policy``, ``budget``, ``probes``, ``db`` and the others of ``observed_run`` for a run of its own; the rest is
            for ``Runner.run``.

    Returns:
        The SDK's own result.

    Raises:
        SubcallError: an answer or a tool's result is withheld (Blocked, Rejected), or the budget has nothing left.
        ConfigError: an agent has what cannot be observed.
        Whatever ``Runner.run`` raises.
    """
    fields = {field.name for field in dataclasses.fields(Options) if field.init}
    options = {key: how.pop(key) for key in list(how) if key in fields}
    told = Told(name, _observing(agent, Options(**options)), price)
    how["run_config"] = _prepared(agent, how.get("run_config"), told)
    return await _observed(load().Runner, agent, given, how, told)


def run_sync(agent: Any, given: Any, **how: Any) -> Any:
    """As ``run``, from code that has no event loop."""
    import asyncio  # noqa: PLC0415 - only here

    return asyncio.run(run(agent, given, **how))


async def _observed(runner: Any, agent: Any, given: Any, how: dict[str, Any], told: Told) -> Any:
    """A run of the SDK within the run that is open, or in one of its own."""
    if current() is not None:
        return await _run(runner, agent, given, how)
    async with Around(given if isinstance(given, str) else "", told.name, told.options) as observed:
        result = await _run(runner, agent, given, how)
        observed.answer = "" if result.final_output is None else str(result.final_output)
        return result


async def _run(runner: Any, agent: Any, given: Any, how: dict[str, Any]) -> Any:
    with opened() as scope:
        try:
            result = await runner.run(agent, given, **how)
        except SubcallError:
            raise
        except Exception as exc:
            if scope.error is not None:  # the SDK puts errors of tools into one of its own
                raise scope.error from exc
            raise
        if scope.error is not None:  # of a call that was only seen when it had come back
            raise scope.error
        return result


def watch(
    agent: Any, run_config: Any = None, *, name: str = "openai-agents", price: Price | None = None, **options: Any
) -> Any:
    """Prepare an agent, and all agents that it can reach by handoffs and as tools, and return what to run them with.

    For ``Runner.run_streamed`` within ``observed_run``, and for code that calls ``Runner.run`` itself, which is then a run
    in the record as with ``run``: ``Runner.run(agent, "…", run_config=watch(agent, …))``. The agents are changed in place:
    function tools and handoffs become subcalls, models of their own are watched, and model names say whose they are. Who is
    watched again is watched by what is said then. What is reached only while they run (an agent that a function makes) is
    prepared when the SDK's runner runs it within an observed run; where a handoff leads to it, its model calls are
    observed if its model is a name.

    Raises:
        ConfigError: a handoff does not say where to.
    """
    return _prepared(agent, run_config, Told(name, _observing(agent, Options(**options)), price))


def _observing(agent: Any, options: Options) -> Options:
    """The options that this agent was run by before, if they are the same: what is loaded for them is loaded once."""
    if getattr(agent, "_monitor_options", None) != options:
        agent._monitor_options = options
    known: Options = agent._monitor_options
    return known


def _prepared(agent: Any, run_config: Any, told: Told) -> Any:
    late.register()
    runner.install(lambda guest, config: _watch(guest, config, Told(told.name, Options(), is_guest=True)), _observed)
    return _watch(agent, run_config, told)


def _watch(agent: Any, run_config: Any, told: Told) -> Any:
    sdk = load()
    for found in _reachable(agent):
        _prepare(found, told)
    given = sdk.RunConfig(**run_config) if isinstance(run_config, dict) else run_config
    config = dataclasses.replace(given) if given is not None else sdk.RunConfig()
    if isinstance(config.model, sdk.Model):
        config.model = _once(config.model, told) or WatchedModel(config.model, "agent", "", told)
    inner = getattr(config.model_provider, "inner", config.model_provider)
    config.model_provider = WatchedProvider(inner, told)
    return config


def _once(found: Any, told: Told) -> Any:
    """What is watched already, by what it is told now; None for what is not."""
    if not isinstance(found, Watched | WatchedModel):
        return None
    if not told.is_guest:
        found.told = told
    return found


def _reachable(agent: Any) -> Iterator[Any]:
    """The agent, and those that it can reach, each once."""
    seen: list[Any] = []
    waiting = [agent]
    while waiting:
        found = waiting.pop()
        if any(found is earlier for earlier in seen):
            continue
        seen.append(found)
        yield found
        waiting += [inner for tool in found.tools if (inner := getattr(tool, "_agent_instance", None)) is not None]
        waiting += [_target(handoff) for handoff in found.handoffs]


def _target(handoff: Any) -> Any:
    """The agent that a handoff leads to."""
    if not hasattr(handoff, "on_invoke_handoff"):
        return handoff
    found = handoff._agent_ref() if handoff._agent_ref is not None else None
    if found is None:
        raise ConfigError(f"the handoff {handoff.tool_name} does not say to which agent: make it with handoff(agent)")
    return found


def _prepare(agent: Any, told: Told) -> None:
    sdk = load()
    if isinstance(agent.model, sdk.Model):
        agent.model = _once(agent.model, told) or WatchedModel(agent.model, agent.name, "", told)
    elif not isinstance(agent.model, NameOf):
        default = load("models").get_default_model()
        agent.model = NameOf.of(agent.name, agent.model, default)
    for tool in agent.tools:
        invoke = getattr(tool, "on_invoke_tool", None)
        if invoke is not None:
            tool.on_invoke_tool = _once(invoke, told) or Watched(invoke, tool.name, told)
    agent.handoffs = [sdk.handoff(item) if not hasattr(item, "on_invoke_handoff") else item for item in agent.handoffs]
    for handoff in agent.handoffs:
        invoke = handoff.on_invoke_handoff
        handoff.on_invoke_handoff = _once(invoke, told) or Watched(invoke, handoff.tool_name, told, is_handoff=True)
