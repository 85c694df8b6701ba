"""The engine of one machine: several processes, of which some die."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures.process import BrokenProcessPool
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from monitor.audit.rescan import local
from tests.audit.rescan.conftest import Bench, fill
from tests.audit.rescan.deadly import Deadly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.audit.rescan.job import Job


def two(job: Job, tasks: Any, loaded: Any) -> Iterator[Any]:
    return local.run(job, tasks, workers=2, loaded=loaded)


def deadly(bench: Bench, number: int, **options: str) -> Job:
    """A job in which the subcall of this number kills who evaluates it."""
    from dataclasses import replace

    job = bench.job()
    at = bench.rows(bench.scan().scan_id)[number].leaf_index
    source = Deadly(**{one.name: getattr(job.source, one.name) for one in fields(job.source)}, at=at, **options)  # type: ignore[arg-type]  # it is a dataclass
    return replace(job, source=source)


def test_several_processes_say_what_one_does(bench: Bench) -> None:
    fill(bench.store, 60)
    alone, together = bench.scan(fresh=True), bench.scan(engine=two, fresh=True)
    assert together.evaluated == 60
    assert bench.rows(together.scan_id) == bench.rows(alone.scan_id)


def test_a_worker_that_is_killed_loses_and_doubles_nothing(bench: Bench, tmp_path: Path) -> None:
    fill(bench.store, 30)
    job = deadly(bench, 17, once=str(tmp_path / "killed"))
    summary = bench.scan(job, two, fresh=True)
    assert (tmp_path / "killed").exists()
    assert (summary.of_status("done"), summary.is_whole) == (30, True)
    assert bench.rows(summary.scan_id) == bench.rows(bench.scan(fresh=True).scan_id)


def test_a_worker_that_dies_before_the_next_part_is_handed_out_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    """The pool is broken when it is handed a part, and not when one is waited for."""
    fill(bench.store, 30)
    job = deadly(bench, 17, once=str(tmp_path / "killed"))
    broken: list[int] = []

    def engine(job: Job, tasks: Any, loaded: Any) -> Iterator[Any]:
        del loaded
        pool = local._Pool(job, 2)

        def handed() -> Iterator[Any]:
            for task in tasks:
                yield task
                first, end = job.source.leaves(task.number)
                if first <= job.source.at < end and not broken:  # type: ignore[attr-defined]  # it is a Deadly
                    with contextlib.suppress(BrokenProcessPool):
                        while True:
                            pool._pool.submit(os.getpid).result()
                    broken.append(task.number)

        return pool.run(handed())

    summary = bench.scan(job, engine, fresh=True)
    assert len(broken) == 1
    assert (summary.of_status("done"), summary.is_whole) == (30, True)
    assert bench.rows(summary.scan_id) == bench.rows(bench.scan(fresh=True).scan_id)


def test_a_subcall_that_kills_every_process_is_a_failed_result_and_the_others_are_done(bench: Bench) -> None:
    fill(bench.store, 12)
    summary = bench.scan(deadly(bench, 5), two, fresh=True)
    rows, expected = bench.rows(summary.scan_id), bench.rows(bench.scan(fresh=True).scan_id)
    assert (rows[5].status, rows[5].problem) == ("failed", local.KILLED)
    assert rows[:5] + rows[6:] == expected[:5] + expected[6:]
    assert not summary.is_whole
