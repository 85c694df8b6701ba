"""What is shown while a run goes: a live tree on a terminal, else one line for each event."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from monitor.cli.safe import one_line
from monitor.cli.tree import draw, expired, notable, run_label, standing, tokens
from monitor.records import (
    Call,
    Decision,
    Event,
    FilterRef,
    Judgement,
    Observation,
    QueuedReview,
    Redaction,
    Released,
    Review,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
    StoredRun,
    StoredSubcall,
)

__all__ = ["Progress", "RunState", "watching"]


class Progress(Protocol):
    """A listener of events that knows what it has heard."""

    state: "RunState"

    def __call__(self, event: Event) -> None:
        """Take note of an event that has been committed."""
        ...

    def paused(self) -> AbstractContextManager[object]:
        """While the context lasts, nothing is drawn: something else has the terminal."""
        ...


class RunState:
    """A run and its subcalls as the events heard so far tell it. Written by one thread, read by another."""

    def __init__(self) -> None:
        self.run: StoredRun | None = None
        self.run_id = ""
        self._subcalls: dict[str, StoredSubcall] = {}
        self._lock = Lock()

    def restore(self, run: StoredRun, subcalls: list[StoredSubcall]) -> None:
        """Begin with what is stored of a run that is resumed."""
        with self._lock:
            self.run, self.run_id = run, run.start.run_id
            self._subcalls = {subcall.call.span_id: subcall for subcall in subcalls}

    @property
    def filters(self) -> tuple[FilterRef, ...]:
        """The filters of the run's last execution."""
        if self.run is None:
            return ()
        return (self.run.resumes[-1] if self.run.resumes else self.run.start).filters

    def subcalls(self) -> list[StoredSubcall]:
        """Return all subcalls, in order of their start."""
        with self._lock:
            return list(self._subcalls.values())

    def subcall(self, span_id: str) -> StoredSubcall | None:
        """Return one subcall, or None where its start was not heard of."""
        with self._lock:
            return self._subcalls.get(span_id)

    def hear(self, event: Event) -> None:
        """Take one event into account."""
        payload, span_id = event.payload, event.span_id
        with self._lock:
            self.run_id = event.run_id
            if isinstance(payload, Call):
                self._subcalls[span_id] = StoredSubcall(call=payload)
            elif isinstance(payload, (Observation, Judgement)) and span_id in self._subcalls:
                part = "observation" if isinstance(payload, Observation) else "judgement"
                self._subcalls[span_id] = self._subcalls[span_id].model_copy(update={part: payload})
            elif isinstance(payload, Released) and span_id in self._subcalls:
                released = (*self._subcalls[span_id].released, payload)
                self._subcalls[span_id] = self._subcalls[span_id].model_copy(update={"released": released})
            elif isinstance(payload, Decision) and span_id in self._subcalls:
                decisions = (*self._subcalls[span_id].decisions, payload)
                self._subcalls[span_id] = self._subcalls[span_id].model_copy(update={"decisions": decisions})
            elif isinstance(payload, RunStart):
                self.run = StoredRun(start=payload)
            elif self.run and isinstance(payload, RunResume):
                self.run = self.run.model_copy(update={"resumes": (*self.run.resumes, payload), "is_stopped": False})
            elif self.run and isinstance(payload, QueuedReview):
                self.run = self.run.model_copy(update={"queued": (*self.run.queued, payload)})
            elif self.run and isinstance(payload, (RunEnd, RunSuspend)):
                self.run = self.run.model_copy(update={"stops": (*self.run.stops, payload), "is_stopped": True})


class _Tree:
    """Keeps the state; Rich's own thread draws it a few times a second."""

    def __init__(self, console: Console) -> None:
        self.state = RunState()
        self._console = console
        self._begun = time.monotonic()
        self.live: Live | None = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        if self.live:
            self.live.stop()
        try:
            yield
        finally:
            if self.live:
                self.live.start()

    def __call__(self, event: Event) -> None:
        self.state.hear(event)

    def render(self) -> RenderableType:
        label = run_label(self.state.run) if self.state.run else Text("starting", style="dim")
        label.append(f"  {time.monotonic() - self._begun:.0f} s", style="dim")
        return draw(label, self.state.subcalls(), max_lines=max(self._console.height - 2, 5))


class _Lines:
    """Prints one line for each event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.state = RunState()
        self._console = console

    def paused(self) -> AbstractContextManager[object]:
        return nullcontext()

    def __call__(self, event: Event) -> None:
        self.state.hear(event)
        line = _line(event, self.state.subcall(event.span_id))
        if line:
            self._console.print(Text(line), soft_wrap=True)


class _Silent:
    """Only keeps the state."""

    def __init__(self) -> None:
        self.state = RunState()

    def paused(self) -> AbstractContextManager[object]:
        return nullcontext()

    def __call__(self, event: Event) -> None:
        self.state.hear(event)


def _line(event: Event, subcall: StoredSubcall | None) -> str:
    payload = event.payload
    if isinstance(payload, RunStart):
        said = f"run {payload.run_id}: {payload.recipe} on {one_line(payload.model, 40)}"
        return "\n  ".join([said, *expired(payload.filters)])
    if isinstance(payload, RunResume):
        return "\n  ".join([f"run {event.run_id}: resumed", *expired(payload.filters)])
    if isinstance(payload, QueuedReview):
        return f"  {payload.span[:8]} queued for review: {one_line(payload.why, 80)}"
    if isinstance(payload, RunSuspend):
        return f"run {event.run_id}: suspended, {len(payload.pending)} waiting for a decision; monitor pending"
    if isinstance(payload, RunEnd):
        return f"run {event.run_id}: {payload.outcome.value}, {payload.verdict.value.value}, {payload.seconds:.1f} s"
    if subcall is None or isinstance(payload, (Review, Redaction)):  # no step of the run
        return ""
    name = f"  {event.span_id[:8]} {one_line(subcall.call.role, 30)}"
    if isinstance(payload, Call):
        again = f" (attempt {payload.attempt})" if payload.attempt > 1 else ""
        return f"{name}{again} started: {one_line(payload.task, 60)}"
    if isinstance(payload, Released):
        return f"{name} released {len(payload.reasoning) + len(payload.output)} codepoints before the end"
    if isinstance(payload, Observation):
        return f"{name} answered ({payload.outcome.value}), {tokens(payload.usage)}, {payload.seconds:.1f} s"
    if isinstance(payload, Decision):
        return f"{name} decided: {payload.choice.value} by {one_line(payload.by, 40)}: {one_line(payload.why, 60)}"
    found = "".join(f", {item.status.value} {one_line(item.name, 60)}{standing(item)}" for item in notable(subcall))
    return f"{name} judged {payload.verdict.value.value}: {subcall.state}{found}"


@contextmanager
def watching(console: Console, *, quiet: bool = False) -> Iterator[Progress]:
    """Show a run on ``console`` while it goes; the context's value is its listener.

    On a terminal the live tree disappears at the end (``run`` then prints the whole tree); elsewhere every event is a line.
    """
    if quiet:
        yield _Silent()
    elif console.is_terminal and not console.is_dumb_terminal:
        tree = _Tree(console)
        with Live(get_renderable=tree.render, console=console, refresh_per_second=5, transient=True) as tree.live:
            yield tree
    else:
        yield _Lines(console)
