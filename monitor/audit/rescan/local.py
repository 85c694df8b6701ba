"""The engine for one machine: worker processes, each with the checks compiled once.

A worker that dies costs the parts that were under way, which are done again. A part that kills its worker twice is done
subcall by subcall; the one that kills its process once more has failed, and the others have results.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from monitor.audit.rescan.work import Done, Task, Worker
from monitor.collector import loaded_left_alone
from monitor.store import ScanResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.audit.rescan.job import Checks, Job

_DEATHS_ALLOWED = 2
_AHEAD = 2  # tasks for each worker that are handed out: what is done waits in memory
_PARTS_WORTH_A_PROCESS = 8  # a process takes about as long to start
KILLED = "the process that evaluated it died (killed, or out of memory)"

_worker: Worker | None = None


def usual_workers() -> int:
    """As many as this process may use processors."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fitting(job: Job, wanted: int | None) -> int:
    """How many workers are worth starting: as many as are wanted, else one a processor, and one where there is little."""
    if wanted is not None:
        return wanted
    few = job.source.parts < _PARTS_WORTH_A_PROCESS * usual_workers() and not job.probes
    return 1 if few else min(usual_workers(), job.source.parts)


def run(job: Job, tasks: Iterable[Task], *, workers: int, loaded: Checks) -> Iterator[Done]:
    """Do ``tasks``; parts come back as they are finished. Raises StoreError where the source cannot be read."""
    if workers <= 1:
        with Worker(job, loaded) as worker, loaded_left_alone():  # to look through it again took a fifth of the time
            for task in tasks:
                yield worker.do(task)
        return
    yield from _Pool(job, workers).run(tasks)


class _Pool:
    def __init__(self, job: Job, workers: int) -> None:
        self._job = job
        self._workers = workers
        self._deaths: Counter[int] = Counter()
        self._pool = _pool(job, workers)

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        waiting = iter(tasks)
        again: list[Task] = []
        under_way: dict[Future[Done], Task] = {}
        try:
            while True:
                lost: list[Task] = []
                while len(under_way) < _AHEAD * self._workers and not lost:
                    task = again.pop() if again else next(waiting, None)
                    if task is None:
                        break
                    try:
                        under_way[self._pool.submit(_do, task)] = task
                    except BrokenProcessPool:  # a worker died since the last look; what was under way is found below
                        lost.append(task)
                if not under_way and not lost:
                    return
                finished = set() if lost else wait(under_way, return_when=FIRST_COMPLETED)[0]
                finished |= {future for future in under_way if future.done()}
                for future in finished:
                    task = under_way.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        lost.append(task)
                if lost:
                    lost += under_way.values()
                    under_way.clear()
                    for done in self._mended(lost):
                        if isinstance(done, Done):
                            yield done
                        else:
                            again.append(done)
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _mended(self, lost: list[Task]) -> Iterator[Done | Task]:
        """After a worker's death: a new pool, and what of the parts that were under way is to be done again.

        Nobody can tell which of them killed it, so each is suspected, and one that was there too often is done with care.
        """
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = _pool(self._job, self._workers)
        for task in lost:
            self._deaths[task.number] += 1
            yield task if self._deaths[task.number] < _DEATHS_ALLOWED else carefully(self._job, task)


def carefully(job: Job, task: Task) -> Done:
    """A part that has killed workers, in a process of its own; and where it kills that too, subcall by subcall."""
    try:
        with _pool(job, 1) as pool:
            return pool.submit(_do, task).result()
    except BrokenProcessPool:
        pass
    with Worker(job) as reading:
        places = reading.leaves(task.number)
    results: list[ScanResult] = []
    reused = 0
    pool = _pool(job, 1)
    try:
        for place in places:
            try:
                done = pool.submit(_do, Task(task.number, task.known, alone=place[0])).result()
                results += done.results
                reused += done.reused
            except BrokenProcessPool:
                results.append(ScanResult(*place, "failed", problem=KILLED))
                pool.shutdown()
                pool = _pool(job, 1)
    finally:
        pool.shutdown()
    return Done(task.number, tuple(results), reused)


def _pool(job: Job, workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a forked child has the parent's connections and threads
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(job,))


def _begin(job: Job) -> None:
    global _worker  # noqa: PLW0603 - one worker for each process, made before its first task
    _worker = Worker(job)
    gc.freeze()


def _do(task: Task) -> Done:
    assert _worker is not None
    return _worker.do(task)
