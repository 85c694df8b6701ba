"""How well does ``verify`` find the first wrong step of a solution, beside guessing?

    python bench/verify_steps.py DATA [--limit 10] [--seed 0] [--model embedded] [--db FILE] [--json]

DATA is a folder with files of BIG-Bench-Mistake (Tyen et al., arXiv 2311.08516; Apache-2.0), one solution a line:
``{"input": …, "steps": […], "mistake_index": 3}``, where the index counts from 0 and null says that no step is wrong.
``--limit`` solutions of each file are drawn with ``--seed``; each is one run of the recipe, one subcall for each step.

Two questions are asked of the same answers:

first wrong step   is the step that the recipe names the labelled one (or none, where none is labelled)?
each step          is the verdict on a step right? Steps after the labelled mistake have no label, and do not count.

Guessing is put to the same sample: always "none"; always the most frequent index of the solutions *not* drawn; and
uniform over the steps and "none", as its exact expectation. Intervals are Wilson's at 95 %. Those for steps treat the
steps of one solution as independent, which they are not: they are too narrow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

import monitor
from monitor.records import Limits
from monitor.settings import Settings

Z = 1.959964
"""The normal quantile of a two-sided interval of 95 %."""
Index: TypeAlias = int | None


@dataclass(frozen=True, slots=True)
class Solution:
    """One labelled solution; ``mistake`` is the index of its first wrong step, None if it has none."""

    task: str
    steps: list[str]
    mistake: Index


@dataclass(slots=True)
class Tally:
    """How often something was right."""

    right: int = 0
    count: int = 0

    def add(self, *, right: bool) -> None:
        """Count one more."""
        self.right += right
        self.count += 1

    def __str__(self) -> str:
        if not self.count:
            return "none"
        low, high = wilson(self.right, self.count)
        return f"{self.right} of {self.count} = {self.right / self.count:.1%} ({low:.1%} to {high:.1%})"


@dataclass(slots=True)
class Report:
    """The figures of one file."""

    name: str
    first: Tally = field(default_factory=Tally)
    steps: Tally = field(default_factory=Tally)
    caught: Tally = field(default_factory=Tally)
    spared: Tally = field(default_factory=Tally)
    never: Tally = field(default_factory=Tally)
    majority: Tally = field(default_factory=Tally)
    uniform: float = 0.0
    all_right: Tally = field(default_factory=Tally)
    failed: int = 0
    calls: int = 0
    seconds: float = 0.0


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's score interval at 95 % (Wilson 1927) for ``right`` successes of ``count``."""
    share = right / count
    middle = share + Z * Z / (2 * count)
    spread = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def read(path: Path) -> list[Solution]:
    """The solutions of a file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [Solution(row["input"], row["steps"], row["mistake_index"]) for row in rows]


def drawn(solutions: list[Solution], limit: int, seed: int) -> tuple[list[Solution], list[Solution]]:
    """A sample without replacement, and the rest."""
    chosen = set(random.Random(seed).sample(range(len(solutions)), min(limit, len(solutions))))
    return (
        [solutions[index] for index in sorted(chosen)],
        [solution for index, solution in enumerate(solutions) if index not in chosen],
    )


def score(report: Report, solution: Solution, verdicts: list[str] | None, usual: Index) -> None:
    """Add one solution; ``verdicts`` is None where the run gave no answer, which counts as wrong."""
    named = verdicts.index("wrong") if verdicts and "wrong" in verdicts else None
    report.first.add(right=verdicts is not None and named == solution.mistake)
    report.never.add(right=solution.mistake is None)
    report.majority.add(right=usual == solution.mistake)
    report.uniform += 1 / (len(solution.steps) + 1)
    last = len(solution.steps) - 1 if solution.mistake is None else solution.mistake
    for index in range(last + 1):
        is_wrong = index == solution.mistake
        is_right = verdicts is not None and (verdicts[index] == "wrong") == is_wrong
        report.steps.add(right=is_right)
        report.all_right.add(right=not is_wrong)
        (report.caught if is_wrong else report.spared).add(right=is_right)


async def measure(path: Path, arguments: argparse.Namespace, db: str) -> Report:
    """Run the recipe over a sample of one file."""
    sample, rest = drawn(read(path), arguments.limit, arguments.seed)
    usual = Counter(solution.mistake for solution in rest or sample).most_common(1)[0][0]
    report = Report(path.stem)
    for solution in sample:
        result = await monitor.run(
            "verify",
            solution.task,
            settings=Settings(db=db, model=arguments.model),
            options={"solution": solution.steps},
            seed=arguments.seed,
            budget=Limits(calls=10 * len(solution.steps), seconds=3600),
        )
        report.calls += result.usage.calls
        report.seconds += result.seconds
        report.failed += result.outcome != "ok"
        verdicts = json.loads(result.answer)["verdicts"] if result.outcome == "ok" else None
        score(report, solution, verdicts, usual)
        print(".", end="", flush=True)
    report.uniform /= len(sample)
    return report


def show(report: Report) -> None:
    """Print the figures of one file."""
    print(f"\n{report.name}: {report.first.count} solutions, {report.calls} calls, {report.seconds:.0f} s")
    print(f"  runs without an answer (counted as wrong): {report.failed}")
    print(f"  first wrong step       {report.first}")
    print(f"    always none          {report.never}")
    print(f"    most frequent index  {report.majority}")
    print(f"    uniform guess        {report.uniform:.1%}")
    print(f"  each step              {report.steps}")
    print(f"    always right         {report.all_right}")
    print("    uniform guess        50.0%")
    print(f"    wrong steps caught   {report.caught}")
    print(f"    right steps spared   {report.spared}")


async def main() -> None:
    """Measure every file of the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--db", default="")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    paths = sorted(arguments.data.glob("*.jsonl"))
    if not paths:
        parser.error(f"{arguments.data} has no .jsonl files")
    with tempfile.TemporaryDirectory() as folder:
        reports = [await measure(path, arguments, arguments.db or f"{folder}/monitor.db") for path in paths]
    for report in reports:
        show(report)
    if arguments.json:
        print(json.dumps([asdict(report) for report in reports]))


if __name__ == "__main__":
    asyncio.run(main())
