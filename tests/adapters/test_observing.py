"""A run around foreign code: calls from functions, coroutines, generators, threads and tasks form one tree."""

from __future__ import annotations

import asyncio
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.adapters.observed import ObservedRun
from monitor.adapters.options import Options
from monitor.errors import Blocked, BudgetExceeded, ConfigError, SubcallFailed
from monitor.records import Limits, Outcome, StoredSubcall, VerdictValue
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def db(new_database: Callable[[], str]) -> str:
    return new_database()


def stored(db: str) -> tuple[Any, dict[str, StoredSubcall]]:
    with Store.open(db) as store:
        run = store.runs(limit=1)[0]
        return run, {subcall.call.task: subcall for subcall in store.subcalls(run.start.run_id)}


@monitor.subcall()
def shout(text: str) -> str:
    return text.upper()


@monitor.subcall("thinker")
async def think(text: str, wait: float = 0.0) -> str:
    await asyncio.sleep(wait)
    return f"{text}!"


def test_a_function_is_a_subcall_of_the_run_around_it(db: str) -> None:
    with monitor.observed_run("Shout", name="demo", db=db) as run:
        assert shout("hello") == "HELLO"
        run.answer = "done"
    assert run.result is not None
    assert run.result.outcome is Outcome.OK
    assert run.result.answer == "done"
    found, subcalls = stored(db)
    assert (found.start.recipe, found.start.task, found.state) == ("observed:demo", "Shout", "ok")
    (subcall,) = subcalls.values()
    assert (subcall.call.role, subcall.call.adapter, subcall.call.task) == ("shout", "python", '{"text":"hello"}')
    assert subcall.observation is not None
    assert subcall.observation.output == "HELLO"


def test_outside_of_a_run_a_call_is_a_run_of_its_own(db: str) -> None:
    @monitor.subcall(db=db)
    def alone(number: int) -> int:
        return number + 1

    assert alone(1) == 2
    run, subcalls = stored(db)
    assert (run.state, len(subcalls)) == ("ok", 1)


def test_what_a_rule_withholds_reaches_nobody(db: str, tmp_path: Path) -> None:
    pack = tmp_path / "p.yaml"
    pack.write_text(
        "pack: t\nversion: 1.0.0\nrules:\n  - title: x\n    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11\n    name: alarm\n"
        "    level: high\n    detection: {s: {tool.result|contains: ALARM}, condition: s}\n"
    )
    with pytest.raises(Blocked), monitor.observed_run("x", db=db, policy=[str(pack)]) as run:
        shout("alarm")
    assert run.result is not None
    assert run.result.outcome is Outcome.BLOCKED
    assert run.result.verdict.value is VerdictValue.BLOCK


def test_the_function_s_own_error_is_raised_and_recorded(db: str) -> None:
    @monitor.subcall()
    def broken() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"), monitor.observed_run("x", db=db):
        broken()
    run, subcalls = stored(db)
    assert run.state == "failed"
    (subcall,) = subcalls.values()
    assert subcall.observation is not None
    assert subcall.observation.error is not None
    assert subcall.observation.error.message == "LookupError: nothing there"


def test_an_error_that_a_rule_withholds_is_not_told(db: str, tmp_path: Path) -> None:
    pack = tmp_path / "p.yaml"
    pack.write_text(
        "pack: t\nversion: 1.0.0\nrules:\n  - title: x\n    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a12\n    name: alarm\n"
        "    level: high\n    detection: {s: {error|contains: secret}, condition: s}\n"
    )

    @monitor.subcall(db=db, policy=[str(pack)])
    def broken() -> None:
        raise LookupError("the secret is 42")

    with pytest.raises(SubcallFailed, match="withheld") as found:
        broken()
    assert found.value.withheld
    assert "secret" not in str(found.value)


def test_packs_are_loaded_once_for_all_runs_of_a_function(db: str, tmp_path: Path) -> None:
    pack = tmp_path / "p.yaml"
    pack.write_text(
        "pack: t\nversion: 1.0.0\nrules:\n  - title: x\n    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a13\n    name: alarm\n"
        "    level: high\n    detection: {s: {output|contains: ALARM}, condition: s}\n"
    )

    @monitor.subcall(db=db, policy=[str(pack)])
    async def repeat(text: str) -> str:
        return text

    assert asyncio.run(repeat("fine")) == "fine"
    pack.write_text("pack: t\nversion: 1.0.1\nrules: []\n")
    with pytest.raises(Blocked):
        asyncio.run(repeat("ALARM"))


def test_a_budget_holds_however_deep(db: str) -> None:
    @monitor.subcall()
    def outer() -> str:
        return shout("a") + shout("b") + shout("c")

    with pytest.raises(BudgetExceeded), monitor.observed_run("x", db=db, budget=Limits(tool_calls=2)):
        outer()
    _, subcalls = stored(db)
    assert sum(subcall.state == "ok" for subcall in subcalls.values()) == 1


def test_nested_calls_hang_below_the_call_that_makes_them(db: str) -> None:
    @monitor.subcall()
    def inner(name: str) -> str:
        return name

    @monitor.subcall()
    async def middle(name: str) -> str:
        got = await asyncio.gather(*(asyncio.to_thread(inner, f"{name}/{number}") for number in range(3)))
        with ThreadPoolExecutor() as pool:
            got.append(pool.submit(monitor.carried(inner), f"{name}/pool").result())
        return ",".join(got)

    async def main() -> None:
        async with monitor.observed_run("x", db=db):
            await asyncio.gather(*(middle(f"m{number}") for number in range(4)))

    asyncio.run(main())
    run, subcalls = stored(db)
    assert len(subcalls) == 4 * 5
    for number in range(4):
        parent = subcalls[f'{{"name":"m{number}"}}'].call
        assert parent.parent_id == run.start.span_id
        for part in ("0", "1", "2", "pool"):
            child = subcalls[f'{{"name":"m{number}/{part}"}}'].call
            assert child.parent_id == parent.span_id
            assert child.depth == parent.depth + 1


def test_generators_are_judged_before_anything_of_them_is_handed_on(db: str) -> None:
    @monitor.subcall()
    def counted(to: int) -> Iterator[int]:
        yield from range(to)

    @monitor.subcall()
    async def counted_later(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async def collect() -> list[int]:
        return [number async for number in counted_later(3)]

    with monitor.observed_run("x", db=db):
        assert list(counted(3)) == [0, 1, 2]
    assert asyncio.run(with_run(db, collect)) == [0, 1, 2]


async def with_run(db: str, work: Callable[[], Any]) -> Any:
    async with monitor.observed_run("x", db=db):
        return await work()


def test_200_concurrent_calls_have_no_mixed_up_parents(db: str) -> None:
    @monitor.subcall()
    async def parent(number: int) -> str:
        return await child(number)

    @monitor.subcall()
    async def child(number: int) -> str:
        await asyncio.sleep(number % 7 / 1000)
        return f"answer {number}"

    async def main() -> list[str]:
        return await asyncio.gather(*(parent(number) for number in range(100)))

    answers = asyncio.run(with_run(db, main))
    assert answers == [f"answer {number}" for number in range(100)]
    with Store.open(db) as store:
        run = store.runs(limit=1)[0]
        subcalls = {subcall.call.span_id: subcall for subcall in store.subcalls(run.start.run_id)}
    assert len(subcalls) == 200
    for subcall in subcalls.values():
        if subcall.call.role == "child":
            assert subcall.call.parent_id is not None
            assert subcalls[subcall.call.parent_id].call.task == subcall.call.task


def test_a_cancelled_call_is_recorded_as_that(db: str) -> None:
    async def main() -> None:
        async with monitor.observed_run("x", db=db):
            task = asyncio.create_task(think("slow", 30))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    run, subcalls = stored(db)
    assert run.state == "ok"
    assert [subcall.state for subcall in subcalls.values()] == ["cancelled"]


def test_runs_in_several_threads_do_not_meet(db: str) -> None:
    def one(name: str) -> None:
        with monitor.observed_run(name, db=db):
            shout(name)

    threads = [threading.Thread(target=one, args=(f"run {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(db) as store:
        for run in store.runs():
            (subcall,) = store.subcalls(run.start.run_id)
            assert subcall.call.task == f'{{"text":"{run.start.task}"}}'


def test_an_exit_in_a_call_is_the_caller_s_and_leaves_the_door_open(db: str) -> None:
    """SystemExit in a task would end the loop that every other run is stored by."""

    @monitor.subcall()
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit), monitor.observed_run("x", db=db):
        leave()
    _, subcalls = stored(db)
    assert [subcall.state for subcall in subcalls.values()] == ["cancelled"]
    with monitor.observed_run("y", db=db):
        assert shout("still here") == "STILL HERE"


def test_an_error_whose_message_is_withheld_is_not_raised_as_it_is(db: str, tmp_path: Path) -> None:
    pack = tmp_path / "p.yaml"
    pack.write_text(
        "pack: t\nversion: 1.0.0\nrules:\n  - title: x\n    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11\n    name: alarm\n"
        "    level: high\n    detection: {s: {error|contains: ALARM}, condition: s}\n"
    )

    @monitor.subcall()
    def broken() -> None:
        raise LookupError("ALARM 7")

    with pytest.raises(SubcallFailed) as caught, monitor.observed_run("x", db=db, policy=[str(pack)]):
        broken()
    assert "ALARM" not in str(caught.value)


def test_a_run_of_somebody_else_s_program_is_not_resumed_by_us(db: str) -> None:
    with pytest.raises(LookupError), monitor.observed_run("x", db=db) as run:
        raise LookupError
    with pytest.raises(ConfigError, match="goes on where that program does"):
        monitor.resume_sync(run.run_id, db=db)


def test_a_run_that_goes_on_has_the_probes_of_its_start(db: str, tmp_path: Path) -> None:
    probe = tmp_path / "mine"
    shutil.copytree(next(path.parent for path in sorted(ROOT.glob("probes/*/probe.json"))), probe)
    first = ObservedRun("t", name="x", options=Options(db=db, policy=[], probes=[str(probe)], force_probes=True))
    first.open()
    first.close(is_paused=True)
    with Store.open(db) as store:
        earlier = store.run(first.run_id)
    assert earlier.start.probes
    without = Options(db=db, policy=[])
    again = ObservedRun("t", name="x", options=without, earlier=earlier)
    again.open()
    again.close(is_paused=True)
    with Store.open(db) as store:
        earlier = store.run(first.run_id)
    assert earlier.resumes[-1].probes == earlier.start.probes
    sidecar = probe / "probe.json"
    sidecar.write_text(sidecar.read_text() + "\n")
    with pytest.raises(ConfigError, match="another probe"):
        ObservedRun("t", name="x", options=without, earlier=earlier)
    shutil.rmtree(probe)
    with pytest.raises(ConfigError, match=r"a probe that is gone.*Put it back"):
        ObservedRun("t", name="x", options=without, earlier=earlier)


def test_settings_that_change_between_two_calls_count_for_the_second(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @monitor.subcall(policy=[])
    def shout(text: str) -> str:
        return text.upper()

    for name in ("one", "two"):
        db = new_database()
        monkeypatch.setenv("MONITOR_DB", db)
        shout(name)
        assert list(stored(db)[1]) == [f'{{"text":"{name}"}}']


def test_a_result_that_is_told_anew_each_time_is_still_that_result(db: str) -> None:
    class Counting:
        told = 0

        def __repr__(self) -> str:
            self.told += 1
            return f"told {self.told} times"

    made = Counting()
    assert monitor.subcall(db=db)(lambda: made)() is made


def test_what_comes_of_a_result_later_would_be_judged_by_nobody(db: str) -> None:
    async def later() -> str:
        return "unseen"

    def pieces() -> Any:
        return (piece for piece in ("unseen",))

    class Caller:
        async def __call__(self) -> str:
            return "unseen"

    @monitor.subcall(db=db)
    def hands_on() -> Any:
        return later()

    for function in (hands_on, monitor.subcall(db=db)(pieces), monitor.subcall("caller", db=db)(Caller())):
        with pytest.raises(ConfigError, match="judged by nobody"):
            function()
        (subcall,) = stored(db)[1].values()
        assert subcall.state == "failed"


def test_a_run_in_a_run_is_a_run_of_its_own(db: str) -> None:
    @monitor.subcall("shout")
    def shout(text: str) -> str:
        return text.upper()

    with monitor.observed_run("outer", db=db, policy=[], budget=Limits(tool_calls=1)) as outer:
        with monitor.observed_run("inner", db=db, policy=[]) as inner:
            shout("one")
            shout("two")
        shout("three")
    assert inner.result is not None
    assert outer.result is not None
    assert (inner.result.usage.tool_calls, outer.result.usage.tool_calls) == (2, 1)
    with Store.open(db) as store:
        assert {run.start.run_id for run in store.runs(limit=None)} == {inner.run_id, outer.run_id}
