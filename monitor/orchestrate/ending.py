"""How a run ends: the recipe is awaited, its end is put into words, and the result is made of what is stored."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
from typing import TYPE_CHECKING, Any

from monitor import verdict
from monitor.canonical import canonical_text, escape_text
from monitor.errors import (
    Blocked,
    BudgetExceeded,
    ModelError,
    MonitorError,
    Rejected,
    StoreError,
    SubcallCancelled,
    SubcallError,
)
from monitor.models.secrets import clean
from monitor.orchestrate.context import contained
from monitor.orchestrate.conversation import Answer
from monitor.records import ErrorInfo, Exceeded, Finding, Frozen, Outcome, RunEnd, RunSuspend, Usage, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.engine import Engine
    from monitor.orchestrate.people import StoppableClock
    from monitor.orchestrate.tally import Judged
    from monitor.records import RunStart


class RunResult(Frozen):
    """How a run ended. ``answer`` is only there where the outcome is ``ok``.

    ``outcome`` is None where the run was suspended: it waits for people, and ``pending`` are the span ids of the subcalls
    that do. ``findings`` are those that matched or could not be evaluated, each with the span id of its subcall.
    """

    run_id: str
    outcome: Outcome | None
    pending: tuple[str, ...] = ()
    answer: str = ""
    verdict: Verdict
    usage: Usage = Usage()
    error: ErrorInfo | None = None
    exceeded: tuple[Exceeded, ...] = ()
    findings: tuple[tuple[str, Finding], ...] = ()
    db: str = ""
    seconds: float = 0.0


GRACE_SECONDS = 2.0
"""How long a recipe may go on after the run's deadline, at which its calls end by themselves: to be told so, and return."""


async def execute(
    engine: Engine,
    recipe: Awaitable[Any],
    budget: Budget,
    clock: StoppableClock,
    is_cancelled: Callable[[], bool],
) -> RunEnd | RunSuspend:
    """Await the recipe and say how the run ended, or that it waits; only the store's own trouble is raised.

    ``is_cancelled`` says whether whoever runs it was cancelled, be it before this. A recipe that waits for something else
    than its calls is cut off soon after the run's deadline, which moves for as long as ``clock`` stands still.
    """
    task = asyncio.get_running_loop().create_task(contained(recipe))
    if is_cancelled():
        task.cancel()
    engine.on_halt = engine.people.on_suspend = task.cancel
    engine.is_cancelled = lambda: task.cancelling() > 0
    ended: BaseException | None = None
    answer = ""
    deadline = asyncio.timeout(_until_cut_off(budget))
    clock.on_change = lambda runs: _move(deadline, _until_cut_off(budget) if runs else None)
    try:
        async with deadline:
            answer = _answer_text(await task)
    except StoreError:
        await engine.land()
        raise
    except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - every way in which a recipe can end is recorded
        ended = exc
    if inspect.iscoroutine(recipe):
        recipe.close()  # one that was cut off before its first step would warn; closing a finished one does nothing
    if deadline.expired() and isinstance(ended, TimeoutError):
        exceeded = budget.out_of_time()
        ended = BudgetExceeded(f"the recipe was cut off: {'; '.join(map(str, exceeded))}", exceeded)
    if ended is None and is_cancelled():
        ended = asyncio.CancelledError()  # the recipe swallowed it: it does not end well all the same
    ended = engine.halted or _unwrapped(ended)
    await engine.land()
    if engine.people.is_suspended and not engine.halted and not is_cancelled():
        return RunSuspend(pending=engine.people.pending, verdict=_verdict_so_far(engine), usage=engine.spent())
    if ended is None and (engine.people.put_off or engine.people.is_paused):
        return RunSuspend(pending=tuple(engine.people.put_off), verdict=_verdict_so_far(engine), usage=engine.spent())
    if not isinstance(ended, asyncio.CancelledError):
        try:
            await engine.finish_earlier()
        except asyncio.CancelledError as exc:
            ended = exc
    return RunEnd(
        outcome=_outcome_of(ended),
        answer="" if ended else answer,
        verdict=_verdict_so_far(engine),
        usage=engine.spent(),
        error=ErrorInfo(kind=_kind_of(ended), message=clean(escape_text(_message_of(ended)))) if ended else None,
        exceeded=ended.exceeded if isinstance(ended, BudgetExceeded) else (),
    )


ONLY_PLANS = "no subcall of an untrusted role was checked"
BELOW_PLANS = "subcalls of untrusted roles below checked ones were left unchecked"


def _verdict_so_far(engine: Engine) -> Verdict:
    """The verdict on the run; its note says so where the recipe checks plans alone: where it left all that untrusted roles
    did unchecked, or any of it that hangs below what was checked.
    """
    found = verdict.of_run([subcall.verdict for subcall in engine.judged])
    note = _left_unchecked(engine.judged)
    return found.model_copy(update={"note": "; ".join(filter(None, (found.note, note)))}) if note else found


def _left_unchecked(judged: Sequence[Judged]) -> str:
    untrusted = [subcall for subcall in judged if not subcall.is_trusted]
    if untrusted and not any(subcall.is_checked for subcall in untrusted):
        return ONLY_PLANS
    checked = {subcall.span_id for subcall in judged if subcall.is_checked}
    return BELOW_PLANS if any(not one.is_checked and one.below in checked for one in untrusted) else ""


def _until_cut_off(budget: Budget) -> float | None:
    """Seconds until the recipe is cut off; None is never."""
    left = budget.seconds_left()
    return None if left is None or left == math.inf else max(0.0, left) + GRACE_SECONDS


def _move(deadline: asyncio.Timeout, seconds: float | None) -> None:
    """Let ``deadline`` pass in ``seconds`` from now, or never. One that has passed stays so."""
    with contextlib.suppress(RuntimeError):
        deadline.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def _unwrapped(ended: BaseException | None) -> BaseException | None:
    """The gravest error of a group (of ``asyncio.TaskGroup``): what was blocked before what ran out before what failed.

    An error that a framework raised because of one of ours is that one.
    """
    if not isinstance(ended, BaseExceptionGroup):
        causes: list[BaseException] = []
        cause = ended
        while cause is not None and all(cause is not earlier for earlier in causes):
            causes.append(cause)
            cause = cause.__cause__
        return next((one for one in causes if isinstance(one, SubcallError)), ended)
    leaves: list[BaseException] = []
    groups: list[BaseExceptionGroup[BaseException]] = [ended]
    while groups:
        for inner in groups.pop().exceptions:
            (groups if isinstance(inner, BaseExceptionGroup) else leaves).append(inner)  # type: ignore[arg-type]  # told apart here
    for kind in (Blocked, Rejected, BudgetExceeded, SubcallError, MonitorError):
        if found := next((leaf for leaf in leaves if isinstance(leaf, kind)), None):
            return found
    return leaves[0]


def _answer_text(returned: Any) -> str:
    """What a recipe returns, as the run's answer: text, an ``Answer``'s text, or anything JSON."""
    if isinstance(returned, Answer):
        return returned.text
    return returned if isinstance(returned, str) else canonical_text(returned)


_OUTCOMES: dict[type[BaseException], Outcome] = {
    Blocked: Outcome.BLOCKED,
    BudgetExceeded: Outcome.BUDGET_EXCEEDED,
    Rejected: Outcome.REJECTED,
    SubcallCancelled: Outcome.CANCELLED,
    asyncio.CancelledError: Outcome.CANCELLED,
}


def _outcome_of(ended: BaseException | None) -> Outcome:
    if ended is None:
        return Outcome.OK
    return next((outcome for kind, outcome in _OUTCOMES.items() if isinstance(ended, kind)), Outcome.FAILED)


def _kind_of(ended: BaseException) -> str:
    if isinstance(ended, SubcallError):
        return "subcall"
    if isinstance(ended, asyncio.CancelledError):
        return "cancelled"
    if isinstance(ended, ModelError):
        return "model"
    return "config" if isinstance(ended, MonitorError) else "recipe"


def _message_of(ended: BaseException) -> str:
    """The error in words; one that the recipe's own code raised also with its class."""
    if isinstance(ended, asyncio.CancelledError):
        return "cancelled; what was in flight was cut off and recorded"
    return str(ended) if isinstance(ended, MonitorError) else f"{type(ended).__name__}: {ended}"


def result_of(start: RunStart, end: RunEnd | RunSuspend, judged: Iterable[Judged], db: str) -> RunResult:
    """The result of a run from its stored parts; ``judged`` are all of its judged subcalls."""
    findings = tuple((subcall.span_id, finding) for subcall in judged for finding in subcall.findings)
    result = RunResult(
        run_id=start.run_id,
        outcome=None,
        verdict=end.verdict,
        usage=end.usage,
        findings=findings,
        db=db,
        seconds=end.seconds,
    )
    if isinstance(end, RunSuspend):
        return result.model_copy(update={"pending": end.pending})
    ended = {"outcome": end.outcome, "answer": end.answer, "error": end.error, "exceeded": end.exceeded}
    return result.model_copy(update=ended)
