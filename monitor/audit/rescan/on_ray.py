"""The engine for more than one machine: Ray Data, with rules on workers of one processor, and probes on actors.

Each worker compiles the rules once, each actor loads the probes' model once, on a GPU where the cluster has one. A block is
a part: a worker that is lost costs the parts that it had, which are done again. What is done comes back as it is done.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from monitor.audit.rescan.local import carefully, usual_workers
from monitor.audit.rescan.work import Done, Task, Worker
from monitor.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from monitor.audit.rescan.job import Job

_TRIES = 3  # of a part whose worker dies; after that it is done with care
_MOST_BLOCKS = 10_000
processes: deque[int] = deque(maxlen=64)
"""The ids of the processes that did the last parts, on whichever machine: for whoever looks for them there."""


def run(job: Job, tasks: Iterable[Task], *, address: str | None = None, workers: int | None = None) -> Iterator[Done]:
    """Do ``tasks`` on Ray; parts come back as they are finished.

    Args:
        job: What is to be done. Its source and its probes must be within the workers' reach under the same names.
        tasks: The parts.
        address: The cluster's; without one, and where this process is not connected to one, a cluster of this machine alone
            is begun, and ended afterwards.
        workers: How many evaluate rules; without it, as many as the cluster has processors.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached, or went away.
    """
    ray = _module()
    is_connected = ray.is_initialized()  # then the caller's cluster is used, and left as it is
    if not is_connected:
        connected(address, workers)
    try:
        yield from _done(ray, job, list(tasks), workers)
    finally:
        if not is_connected:
            ray.shutdown()


def _module() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # noqa: PLC0415 - optional, and slow to import
        import ray.data  # noqa: PLC0415 - as above
    except ImportError as exc:
        raise MissingExtraError("ray[data], which scans on several machines,", "ray") from exc
    return ray


def connected(address: str | None, workers: int | None) -> Any:
    """Ray, connected to the cluster at ``address``; without one, to a cluster of this machine alone, begun for it.

    Raises MissingExtraError and ConfigError.
    """
    ray = _module()
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": max(2, workers or usual_workers()),
            "_node_ip_address": "127.0.0.1",
        }
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as exc:
        raise ConfigError(f"no Ray cluster at {address or 'this machine'}: {' '.join(str(exc).split())[:300]}") from exc
    return ray


def _done(ray: Any, job: Job, tasks: list[Task], workers: int | None) -> Iterator[Done]:
    if not tasks:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_options.preserve_order = False
    resources = ray.cluster_resources()
    known = {task.number: ray.put(task.known) for task in tasks if task.known}
    attempts = [ray.remote(num_cpus=0)(Attempts).remote() for _ in range(2)]
    rows = [{"number": task.number} for task in tasks]
    data = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
    count = max(1, min(workers or int(resources.get("CPU", 1)), len(rows)))
    if job.probes:
        on_gpu = 1 if resources.get("GPU") else 0
        actors = int(resources["GPU"]) if on_gpu else 1
        data = data.map_batches(
            Probing,
            batch_size=1,
            num_gpus=on_gpu,
            num_cpus=0 if on_gpu else 1,
            compute=ray.data.ActorPoolStrategy(size=actors),
            fn_constructor_args=(job, known, attempts[0]),
        )
    data = data.map_batches(
        Evaluating,
        batch_size=1,
        num_cpus=1 if not job.probes else 0.5,
        compute=ray.data.ActorPoolStrategy(size=count),
        fn_constructor_args=(job, known, attempts[1]),
    )
    try:
        for row in data.iter_rows():
            processes.append(int(row["pid"]))
            yield pickle.loads(row["done"])  # noqa: S301 - our own workers made it
    except ray.exceptions.RayError as exc:
        raise ConfigError(
            f"the scan on Ray ended early ({type(exc).__name__}); what is done is kept: give the same command again"
        ) from exc


class Attempts:
    """Counts how often each part was begun; one for the whole scan."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count one more, and say the how manieth it is."""
        self._begun[number] += 1
        return self._begun[number]


class _Part:
    """A worker of Ray: made once, then asked for part after part."""

    def __init__(self, job: Job, known: Mapping[int, Any], attempts: Any) -> None:
        self._job = job
        self._worker = Worker(job)
        self._known = known
        self._attempts = attempts

    def _is_deadly(self, number: int) -> bool:
        """Whether the part has cost workers their lives: Ray would try it for ever."""
        return bool(_module().get(self._attempts.begin.remote(number)) > _TRIES)

    def _task(self, number: int) -> Task:
        if number not in self._known:
            return Task(number)
        return Task(number, _module().get(self._known[number]))


class Probing(_Part):
    """Asks the probes."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """What the probes say of the subcalls of a part."""
        number = int(batch["number"][0])
        if self._is_deadly(number):  # what evaluates it asks the probes then, with care
            return {"number": [number], "scores": [pickle.dumps(None)]}
        return {"number": [number], "scores": [pickle.dumps(self._worker.scored(self._task(number)))]}


class Evaluating(_Part):
    """Evaluates the rules."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A part, done."""
        number = int(batch["number"][0])
        if self._is_deadly(number):
            done = carefully(self._job, self._task(number))
            return {"number": [number], "pid": [os.getpid()], "done": [pickle.dumps(done)]}
        scores = pickle.loads(batch["scores"][0]) if "scores" in batch else None  # noqa: S301 - our own workers made it
        done = self._worker.do(self._task(number), scores)
        return {"number": [number], "pid": [os.getpid()], "done": [pickle.dumps(done)]}
