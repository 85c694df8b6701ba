"""The SDK's default runner, kept, with one difference: what is run within an observed run is watched, whoever runs it.

So an agent that a tool or a guardrail runs by itself is stored before it is called, judged before it is heard, and held to
the budget, like any other. Outside of observed runs nothing is different.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from monitor.adapters.agents_sdk.models import WatchedProvider
from monitor.adapters.agents_sdk.scopes import opened, scope
from monitor.adapters.agents_sdk.sdk import load
from monitor.adapters.places import current
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.adapters.agents_sdk.models import Told

AgentRunner: Any = load("run").AgentRunner
_lock = threading.Lock()


class WatchingRunner(AgentRunner):  # type: ignore[misc]  # the SDK may not be installed
    """Stands around the runner that was the default before; ``run_sync``, which the SDK makes of ``run``, does too.

    ``watch`` prepares an agent and its configuration, ``observe`` makes one run of ours of a run of the SDK.
    """

    def __init__(self, inner: Any, watch: Callable[[Any, Any], Any], observe: Callable[..., Awaitable[Any]]) -> None:
        self._inner, self._watch, self._observe = inner, watch, observe

    async def run(self, starting_agent: Any, input: Any, **how: Any) -> Any:  # noqa: A002 - the SDK's name for it
        """See the SDK."""
        told, is_open = _told(how), current() is not None
        if told is not None and not is_open and not told.is_guest:
            return await self._observe(self._inner, starting_agent, input, how, told)
        if told is not None or not is_open:
            return await self._inner.run(starting_agent, input, **how)
        outer = scope()
        with opened(below=outer.below) as inside:
            try:
                return await self._inner.run(starting_agent, input, **self._watched(starting_agent, how))
            finally:
                outer.error = inside.error or outer.error

    def run_streamed(self, starting_agent: Any, input: Any, **how: Any) -> Any:  # noqa: A002 - as above
        """See the SDK. Raises ConfigError for a budget that no run would be held to."""
        told, is_open = _told(how), current() is not None
        if told is not None and not is_open and told.options.budget is not None:
            raise ConfigError(
                "each call would be a run of its own, with all of the budget: give it to monitor.observed_run(…, budget=…) "
                "around run_streamed, and not to watch"
            )
        watched = self._watched(starting_agent, how) if is_open and told is None else how
        return self._inner.run_streamed(starting_agent, input, **watched)

    def _watched(self, agent: Any, how: dict[str, Any]) -> dict[str, Any]:
        return {**how, "run_config": self._watch(agent, how.get("run_config"))}


def _told(how: dict[str, Any]) -> Told | None:
    """What the agents are watched with, if this is a run that was prepared for it."""
    provider = getattr(how.get("run_config"), "model_provider", None)
    return provider.told if isinstance(provider, WatchedProvider) else None


def install(watch: Callable[[Any, Any], Any], observe: Callable[..., Awaitable[Any]]) -> None:
    """Make it the default, around the one that is; doing it again changes nothing."""
    module = load("run")
    with _lock:
        present = module.get_default_agent_runner()
        if not isinstance(present, WatchingRunner):
            module.set_default_agent_runner(WatchingRunner(present, watch, observe))
