"""Coverage of the interval of Cohen's kappa: how often it holds the kappa that two simulated people have in the long run.

``python bench/kappa_intervals.py``: for each row 1,000 sets of findings in runs. Each run has a share of findings that are
right of its own (a beta distribution), so that findings of one run are alike; each person says what is so with a chance of
their own, and otherwise the contrary. The true kappa is that of 400,000 findings.
"""

from __future__ import annotations

import random

from monitor.audit.agreement import Pair, interval, kappa_of

ROUNDS = 1000


def runs_of(dice: random.Random, count: int, each: int, skill: tuple[float, float], share: float) -> list[list[Pair]]:
    """Findings that two people labelled."""
    found = []
    for _ in range(count):
        right = dice.betavariate(4 * share, 4 * (1 - share))
        of_run = []
        for _ in range(each):
            truth = dice.random() < right
            one, two = (truth if dice.random() < able else not truth for able in skill)
            of_run.append((one, two))
        found.append(of_run)
    return found


def main() -> None:
    """Print the table."""
    print("| runs | findings in each | right | the two agree with the truth | kappa | covered | without an interval |")
    print("|---|---|---|---|---|---|---|")
    for count, each, share, skill in (
        (8, 5, 0.5, (0.9, 0.9)),
        (15, 4, 0.5, (0.9, 0.8)),
        (15, 4, 0.2, (0.9, 0.9)),
        (30, 3, 0.3, (0.9, 0.8)),
        (30, 3, 0.3, (0.98, 0.98)),
        (60, 3, 0.1, (0.95, 0.95)),
    ):
        dice = random.Random(0)
        true = kappa_of([pair for of in runs_of(dice, 4000, 100, skill, share) for pair in of]) or 0.0
        covered = none = 0
        for _ in range(ROUNDS):
            runs = runs_of(dice, count, each, skill, share)
            value = kappa_of([pair for of in runs for pair in of])
            low, high, _ = (None, None, "") if value is None else interval(runs, value)
            if low is None or high is None:
                none += 1
            else:
                covered += low <= true <= high
        said = f"{100 * skill[0]:.0f} and {100 * skill[1]:.0f} %"
        share_covered = f"{100 * covered / max(1, ROUNDS - none):.1f} %"
        print(f"| {count} | {each} | {100 * share:.0f} % | {said} | {true:.2f} | {share_covered} | {none} |")


if __name__ == "__main__":
    main()
