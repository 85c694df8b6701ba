"""A thread of LangGraph's: kept by a checkpointer, so that its graph may stop before its end, and go on later."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config
from langgraph._internal._constants import CONFIG_KEY_CHECKPOINTER, TASKS

from monitor.canonical import fingerprint

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

_NEXT, _JOIN = "branch:to:", "join:"
"""Channels by which a checkpoint says what is to run: ``branch:to:NODE``; ``join:A+B:NODE``, with those that are done."""


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread, and who keeps it."""

    saver: BaseCheckpointSaver[Any]
    name: str

    @property
    def scope(self) -> str:
        """What the scopes of its subcalls begin with."""
        return f"/{fingerprint('langgraph', self.name)[:16]}"

    @property
    def _config(self) -> RunnableConfig:
        return {"configurable": {"thread_id": self.name, "checkpoint_ns": ""}}

    def is_paused(self) -> bool:
        """Whether its graph stopped before its end (``interrupt_before``, ``interrupt_after``), which no callback tells."""
        with suppress(Exception):  # a checkpointer of anybody's; what it cannot say is not known
            return _has_more(self.saver.get_tuple(self._config))
        return False

    async def is_paused_async(self) -> bool:
        """As ``is_paused``."""
        with suppress(Exception):  # as above
            return _has_more(await self.saver.aget_tuple(self._config))
        return False


def _has_more(kept: CheckpointTuple | None) -> bool:
    values = kept.checkpoint["channel_values"] if kept else {}
    return bool(values.get(TASKS)) or any(name.startswith(_NEXT) or _is_full(name, values[name]) for name in values)


def _is_full(name: str, done: Any) -> bool:
    waits_for = name.removeprefix(_JOIN).rpartition(":")[0]
    return name.startswith(_JOIN) and isinstance(done, set) and len("+".join(done)) == len(waits_for)


def thread_here() -> Thread | None:
    """The thread in which this code runs; None where nothing keeps one: then nothing can be resumed."""
    conf = (var_child_runnable_config.get() or {}).get("configurable") or {}
    saver, name = conf.get(CONFIG_KEY_CHECKPOINTER), conf.get("thread_id")
    return None if not saver or name is None else Thread(saver, str(name))
