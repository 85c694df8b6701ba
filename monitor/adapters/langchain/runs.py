"""Runs of our own around what LangChain's user invokes, and the tree in which LangChain's runs lie.

Where no ``observed_run`` is open, the outermost thing that LangChain runs (an agent, a graph, a chain) is one run of
ours: opened when the first call in it is observed, closed when it ends, however it does. A handler that LangChain adds to
every run in this process, from the first ``MonitorMiddleware`` or ``MonitorCallbackHandler`` on, tells us of both.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import register_configure_hook
from langgraph.errors import GraphInterrupt
from langgraph.types import Command

from monitor.adapters.langchain.either import Either
from monitor.adapters.langchain.threads import thread_here
from monitor.adapters.langchain.translate import as_json
from monitor.adapters.observed import ObservedRun
from monitor.adapters.places import Place, current
from monitor.canonical import escape_text
from monitor.models.langchain_format import content_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from monitor.adapters.langchain.threads import Thread
    from monitor.adapters.options import Options
    from monitor.adapters.passage import Passage
    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, StoredRun, StoredSubcall


Found: TypeAlias = "tuple[StoredRun, dict[str, StoredSubcall]] | None"


@dataclass
class _Root:
    """One outermost run of LangChain's, and the runs of ours in it: one for each way of observing.

    ``is_resumed`` where it goes on with a graph that was interrupted; ``waiting`` are then the subcalls of ours that
    were put before a person, by scope. ``is_paused`` where something in it was interrupted. ``thread`` is the one of
    LangGraph's in which its first observed call lies. ``reached`` is how the first middleware in it observes.
    """

    is_resumed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    runs: list[tuple[str, Options, ObservedRun, Place]] = field(default_factory=list)
    waiting: dict[str, StoredSubcall] | None = None
    is_paused: bool = False
    thread: Thread | None = None
    reached: tuple[str, Options] | None = None


class Tree(BaseCallbackHandler):
    """Which run of LangChain's lies in which, from the first one on that began since ``install``."""

    run_inline = True
    raise_error = True  # an end that cannot be stored is raised: the record is not whole

    def __init__(self) -> None:
        self._parents: dict[UUID, UUID | None] = {}
        self._roots: dict[UUID, _Root] = {}
        self.find_suspended: Callable[[Options, str], Found]
        self.find_suspended = lambda _options, _name: None  # see ``human``

    def above(self, run_id: UUID | None) -> Iterator[UUID]:
        """A run and those that it lies in, the innermost first."""
        while run_id is not None:
            yield run_id
            run_id = self._parents.get(run_id)

    def _root(self, run_id: UUID | None) -> _Root | None:
        path = [above for above in self.above(run_id) if above in self._parents]
        return self._roots.get(path[-1]) if path else None

    def reach(self, run_id: UUID | None, name: str, options: Options) -> None:
        """A middleware observes a call here: so all that LangChain's user invoked is to be observed."""
        root = self._root(run_id)
        if root is not None and root.reached is None:
            root.reached = name, options

    def reached(self, run_id: UUID | None) -> tuple[str, Options] | None:
        """How a middleware observes what LangChain's user invoked; None where none has observed anything yet."""
        root = self._root(run_id)
        return root.reached if root else None

    def waiting(self, run_id: UUID | None, find: Callable[[], Found]) -> dict[str, StoredSubcall]:
        """What was put before a person before the graph was resumed in which LangChain's run lies, by scope."""
        root = self._root(run_id)
        if root is None:
            return {}
        with root.lock:
            if root.is_resumed and root.waiting is None:
                found = find()
                root.waiting = found[1] if found else {}
            return root.waiting or {}

    def place(self, run_id: UUID | None, name: str, options: Options, task: str) -> Place | None:
        """The place at the top of our run for what LangChain's run lies in; None where that is not known.

        Raises:
            ConfigError, PolicyError, ProbeError, StoreError: our run cannot be opened.
        """
        root = self._root(run_id)
        if root is None:
            return None
        with root.lock:
            for known, given, run, place in root.runs:
                if (known, given) == (name, options) and not run.is_closed:
                    return place
            earlier = self.find_suspended(options, name) if root.is_resumed else None
            if root.is_resumed:
                root.waiting = {**(root.waiting or {}), **(earlier[1] if earlier else {})}
            run = ObservedRun(task, name=name, options=options, earlier=earlier[0] if earlier else None)
            place = run.open()
            root.runs.append((name, options, run, place))
            root.thread = root.thread or thread_here()
            return place

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **told: Any) -> None:
        """Note where a run of LangChain's lies."""
        self._began(run_id, told.get("parent_run_id"), is_resumed=inputs is None or isinstance(inputs, Command))

    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: UUID, **told: Any) -> None:
        """As ``on_chain_start``."""
        self._began(run_id, told.get("parent_run_id"))

    def _end(self, outputs: Any, *, run_id: UUID, **told: Any) -> None:
        """Close our runs where the outermost one has ended."""
        thread = self._thread(run_id)
        self._ended(run_id, outputs, None, is_paused=thread is not None and thread.is_paused())

    async def _end_awaited(self, outputs: Any, *, run_id: UUID, **told: Any) -> None:
        """As ``_end``."""
        thread = self._thread(run_id)
        self._ended(run_id, outputs, None, is_paused=thread is not None and await thread.is_paused_async())

    on_chain_end: Any = Either(_end, _end_awaited)

    def _thread(self, run_id: UUID) -> Thread | None:
        root = self._roots.get(run_id)
        return root.thread if root else None

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **told: Any) -> None:
        """As ``on_chain_end``."""
        if isinstance(error, GraphInterrupt) and (root := self._root(run_id)):
            root.is_paused = True
        self._ended(run_id, None, error)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **told: Any) -> None:
        """As ``on_chain_end``."""
        self._ended(run_id, None, error)

    def _began(self, run_id: UUID, parent_id: UUID | None, *, is_resumed: bool = False) -> None:
        self._parents[run_id] = parent_id if parent_id in self._parents else None
        if self._parents[run_id] is None:
            self._roots[run_id] = _Root(is_resumed=is_resumed)

    def _ended(self, run_id: UUID, outputs: Any, error: BaseException | None, *, is_paused: bool = False) -> None:
        self._parents.pop(run_id, None)
        root = self._roots.pop(run_id, None)
        for _, _, run, _ in root.runs if root else ():
            run.answer = answer_of(outputs)
            run.close(error, is_paused=is_paused or (root is not None and root.is_paused))


TREE = Tree()
_nested: ContextVar[BaseCallbackHandler | None] = ContextVar("monitor_langchain_nested", default=None)
_hook: ContextVar[Tree | None] = ContextVar("monitor_langchain_tree", default=TREE)
_lock = threading.Lock()
_installed = False


def install() -> None:
    """Have LangChain tell us of every run in this process from now on. Doing it again changes nothing."""
    global _installed  # noqa: PLW0603 - one for the process, as LangChain's list of hooks is
    with _lock:
        if not _installed:
            register_configure_hook(_hook, inheritable=True)
            register_configure_hook(_nested, inheritable=True)
            _installed = True


def lies_in() -> UUID | None:
    """The run of LangChain's in which this code runs."""
    config = var_child_runnable_config.get() or {}
    found: UUID | None = getattr(config.get("callbacks"), "parent_run_id", None)
    return found


def agent_name() -> str:
    """The name that the agent in which this code runs was given; empty where it was given none."""
    config = var_child_runnable_config.get() or {}
    return str((config.get("metadata") or {}).get("lc_agent_name") or "")


@dataclass
class Opened:
    """A call that callbacks told us of, under way. ``own`` is a run that was opened for it alone."""

    owner: Any
    passage: Passage
    asked: Asked
    call: Call
    place: Place
    own: ObservedRun | None
    is_streamed: bool = False

    @property
    def below(self) -> Place:
        """The place of what it calls in its turn."""
        return Place(self.place.run, self.place.budget, self.call.span_id, self.place.depth + 1)


OPEN: dict[UUID, Opened] = {}
"""By LangChain's run, whichever handler was told."""


def stands() -> Place | None:
    """Where this code stands: in the innermost call that is observed, or at the top of the run that is open."""
    return _innermost(lies_in())


def _innermost(run_id: UUID | None) -> Place | None:
    here = current()
    told = next((OPEN[above] for above in TREE.above(run_id) if above in OPEN), None)
    if told is None or told.place.run.is_closed or (here is not None and here.depth > told.place.depth):
        return here
    return told.below


def place_here(name: str, options: Options, task: Callable[[], str], run_id: UUID | None = None) -> Place | None:
    """Where this code stands; or a run of ours around what LangChain's user invoked. None where that is not known."""
    run_id = run_id or lies_in()
    return _innermost(run_id) or TREE.place(run_id, name, options, task())


_seen_model: ContextVar[bool] = ContextVar("monitor_langchain_model", default=False)
_seen_tool: ContextVar[UUID | None] = ContextVar("monitor_langchain_tool", default=None)


def is_seen(parent_id: UUID | None = None) -> bool:
    """Whether a middleware observes what is called here: any model, or, given its parent, the tool."""
    return _seen_model.get() if parent_id is None else _seen_tool.get() == parent_id


@contextmanager
def seen_model() -> Iterator[None]:
    """A middleware observes the model that is called in here: callbacks that tell of it tell nothing new."""
    token = _seen_model.set(True)
    try:
        yield
    finally:
        _seen_model.reset(token)


@contextmanager
def seen_tool(nested: BaseCallbackHandler) -> Iterator[None]:
    """A middleware observes the tool that is called in here; ``nested`` is told of all that the tool calls in its turn."""
    tokens = _seen_tool.set(lies_in()), _nested.set(nested)
    try:
        yield
    finally:
        _seen_tool.reset(tokens[0])
        _nested.reset(tokens[1])


def answer_of(outputs: Any) -> str:
    """What a chain or an agent returned, in words: an agent's last message, or all of it."""
    if isinstance(outputs, dict) and isinstance(outputs.get("messages"), list) and outputs["messages"]:
        outputs = outputs["messages"][-1]
    if isinstance(outputs, BaseMessage):
        return escape_text(content_text(outputs.content))
    return "" if outputs is None else as_json(outputs)
