"""1,023 moves in a row without an error: voting beside its theory, and what it does about errors that samples share.

    python bench/hanoi_votes.py [--disks 10] [--seeds 3]

A scripted model reads the position from its prompt and gives the right next move, with its reasoning, except where it is
corrupted: then it gives a wrong move that is legal and well-formed, the same for a position whoever is asked, so that
wrong votes agree (the worst case of the theory). Corruption is either independent (it depends on the sample's seed) or
correlated (it depends on the position, and so meets all samples of a step alike). Everything else is real: the engine, the
shipped rules, an SQLite store with three commits for every sample.

The theory is that of ``monitor.orchestrate.voting`` (arXiv 2511.09030, and the gambler's ruin).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import monitor
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate.voting import expected_samples, lead_needed, right_probability
from monitor.records import Limits
from monitor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.models.base import ModelRequest
    from monitor.orchestrate.ending import RunResult

TASK = "Move the whole tower to peg C."
PEGS = "ABC"
SUCCESS = 0.99
"""With this probability at least the whole tower is to succeed."""
SIGMAS = 3.29
"""Half the width of the interval for the number of samples, in standard deviations: it holds 99.9 % of runs."""


def position(request: ModelRequest) -> list[str]:
    """The position that a request shows: for each disk, the smallest first, its peg."""
    lines = [line.partition(": ") for line in request.messages[-1].content.splitlines()]
    where = {int(disk): peg for peg, _, disks in lines if peg in PEGS and disks != "empty" for disk in disks.split()}
    return [where[disk] for disk in sorted(where)]


def right_move(where: list[str]) -> tuple[str, str]:
    """The next move of the shortest way to peg C, from any position."""
    goal, move = "C", ("", "")
    for disk in reversed(range(len(where))):
        if where[disk] != goal:
            move = (where[disk], goal)
            # All smaller disks must first go to the third peg.
            goal = next(peg for peg in PEGS if peg not in {where[disk], goal})
    return move


def wrong_move(where: list[str]) -> tuple[str, str]:
    """A legal move that is not the right one, always the same for a position."""
    tops = {peg: next((disk for disk, on in enumerate(where) if on == peg), len(where)) for peg in PEGS}
    legal = [(a, b) for a in PEGS for b in PEGS if a != b and tops[a] < tops[b]]
    return next(move for move in legal if move != right_move(where))


def share(*parts: object) -> float:
    """A number from 0 to 1 that depends on ``parts`` alone."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def mover(is_corrupted: Callable[[ModelRequest, list[str]], bool]) -> ScriptedModel:
    """A model that gives the right move, but for where it is corrupted."""

    def move(request: ModelRequest) -> Reply:
        where = position(request)
        start, end = wrong_move(where) if is_corrupted(request, where) else right_move(where)
        disk = where.index(start) + 1
        thought = f"Disk {disk} is the one to move now, and peg {end} is where it has to go."
        return Reply(text=json.dumps({"reasoning": thought, "from": start, "to": end}))

    return ScriptedModel(move)


def independently(rate: float) -> ScriptedModel:
    """Each sample is wrong by itself, by its own seed."""
    return mover(lambda request, where: share("independent", request.seed, where) < rate)


def correlated(rate: float) -> ScriptedModel:
    """All samples of a position are wrong together."""
    return mover(lambda _request, where: share("correlated", where) < rate)


@dataclass(frozen=True, slots=True)
class Theory:
    """What theory says of ``steps`` votes of ``k`` with samples that are right with probability ``p``."""

    p: float
    k: int
    steps: int

    @classmethod
    def of(cls, p: float, steps: int) -> Theory:
        """With the smallest ``k`` by which all steps are right with probability ``SUCCESS``."""
        return cls(p, lead_needed(p, steps, SUCCESS), steps)

    @property
    def success(self) -> float:
        """The probability that every step is right."""
        return right_probability(self.p, self.k) ** self.steps

    @property
    def samples(self) -> float:
        """The expected number of samples of all steps."""
        return self.steps * expected_samples(self.p, self.k)

    @property
    def interval(self) -> tuple[int, int]:
        """Where the number of samples lies in 99.9 % of runs, by the normal approximation of the sum over the steps."""
        spread = SIGMAS * math.sqrt(self.steps * self._variance())
        return math.floor(self.samples - spread), math.ceil(self.samples + spread)

    def _variance(self) -> float:
        """The variance of the samples of one step, from the chances that it ends after 1, 2, 3 … of them."""
        at = {0: 1.0}
        mean = square = 0.0
        for count in range(1, 100 * self.k * self.k):
            ended, going = 0.0, dict[int, float]()
            for lead, chance in at.items():
                for step, part in ((1, self.p), (-1, 1 - self.p)):
                    if abs(lead + step) == self.k:
                        ended += chance * part
                    else:
                        going[lead + step] = going.get(lead + step, 0.0) + chance * part
            mean, square, at = mean + count * ended, square + count * count * ended, going
        return square - mean * mean


def run(model: ScriptedModel, db: str, *, disks: int, k: int, seed: int = 0) -> RunResult:
    """One tower, with calls and seconds enough."""
    settings = Settings(db=db, policies=["core"])
    limits = Limits(calls=100 * 2**disks, seconds=3600)
    options = {"disks": disks, "k": k}
    return monitor.run_sync("hanoi", TASK, model=model, settings=settings, options=options, seed=seed, budget=limits)


def main() -> None:
    """Print what was measured beside what theory says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--disks", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    disks = arguments.disks
    theory = Theory.of(0.99, 2**disks - 1)
    print(f"{theory.steps} moves, 1 % independent corruption, k = {theory.k}")
    print(f"  theory: all right with probability {theory.success:.5f}, {theory.samples:.0f} samples expected, ", end="")
    print(f"99.9 % of runs in {theory.interval}")
    print(f"  without voting: all right with probability {0.99**theory.steps:.2g}")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            result = run(independently(0.01), f"{folder}/{seed}.db", disks=disks, k=theory.k, seed=seed)
            answer = json.loads(result.answer) if result.answer else {"moves": []}
            calls, seconds = result.usage.calls, result.seconds
            print(f"  seed {seed}: {result.outcome}, {len(answer['moves'])} moves, {calls} samples, {seconds:.1f} s")
        for rate in (0.01, 0.3):
            result = run(correlated(rate), f"{folder}/correlated-{rate}.db", disks=disks, k=theory.k)
            print(f"{rate:.0%} correlated corruption: {result.outcome} after {result.usage.calls} samples, ", end="")
            print(f"answer {result.answer!r}: {result.error and result.error.message}")


if __name__ == "__main__":
    main()
