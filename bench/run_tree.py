"""What rules over the tree and over taint cost for each subcall, as a run grows: the cost must not grow with it.

    python bench/run_tree.py [--subcalls 100000] [--only taint]

One run of every shape is watched, in which every fifth subcall asks four others below it. For each kind of rule the cost of
one subcall is taken over the last 100 before 100, 1,000, … subcalls (the median of five such stretches, in turns), and
given as a share of that after the first 100. Times are the process's own processor time. A run of 100 goes before, and is
not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from monitor import policy
from monitor.policy import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.policy import PolicySet
    from monitor.records import Finding, Record

KINDS = {
    "ancestor": "tree: {this: worker, ancestor: boss}",
    "child": "tree: {this: boss, child: worker}",
    "ancestor, same": "tree: {this: any, ancestor: any, same: [task]}",
    "sibling, same": "tree: {this: any, sibling: boss, same: [task]}",
    "without-ancestor": "tree: {this: boss, without-ancestor: worker}",
    "parent, unsaid-in": "tree: {this: any, parent: any, what: role, unsaid-in: [output, prompt]}",
    "sibling, unsaid-in": "tree: {this: boss, sibling: worker, what: role, unsaid-in: [output]}",
    "share": "tree: {this: worker, share: {field: usage.output_tokens, gte: 0.9, least: 1000}}",
    "taint": "taint: {source: worker, sink: boss, into: [prompt]}",
    "taint, found": "taint: {source: worker, from: [found], sink: any, into: [tool.arguments, prompt]}",
}
PACK = """pack: bench
version: 1.0.0
engine: 3
rules:
  - {title: w, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: worker, level: low,
     detection: {a: {output|re: 'number \\d+'}, condition: a}}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: boss, level: low,
     detection: {a: {trust: trusted}, condition: a}}
run_rules:
"""
STRETCH = 100


def rules(text: str) -> PolicySet:
    """A set with one rule over a run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pack.yaml"
        head = "  - {title: t, id: 45a9e88a-2172-46e5-9d6a-76815d990803, name: t, level: low, "
        path.write_text(f"{PACK}{head}{text}}}\n")
        return policy.load([path])


def record(number: int, made: Sequence[Record]) -> Record:
    """The subcall of that number: texts of about 600 codepoints, none like another."""
    is_boss = number % 5 == 0
    below = "the run" if is_boss else f"{number - number % 5:016}"
    text = "".join(f"the answer to question {number * 10 + line} is number {number * 7 + line}. " for line in range(12))
    asked = f"question {number}: {text[::-1]}"
    one = made[is_boss]
    message = one.call.messages[0].model_copy(update={"content": asked})
    update = {"span_id": f"{number:016}", "parent_id": below, "task": asked, "messages": (message,)}
    observation = one.observation.model_copy(update={"output": text})
    return one.model_copy(update={"call": one.call.model_copy(update=update), "observation": observation})


def costs(most: int, kinds: dict[str, str]) -> dict[str, dict[int, float]]:
    """Microseconds for each subcall, by kind, after so many subcalls; what the rules over one subcall cost is left out."""
    sets = {kind: rules(text) for kind, text in kinds.items()}
    watches = {kind: one.watch() for kind, one in sets.items()}
    made = [
        examples.build({"user": "x", "role": role, "trust": trust, "usage.output_tokens": 10, "tools": ["read"]})
        for role, trust in (("worker", "untrusted"), ("boss", "trusted"))
    ]
    first = next(iter(sets.values()))
    marks = [10**power for power in range(2, 10) if 10**power <= most]
    found: dict[str, dict[int, list[float]]] = {kind: {mark: [] for mark in marks} for kind in kinds}
    for number in range(0, most, STRETCH):
        records = [record(number + one, made) for one in range(STRETCH)]
        findings: list[tuple[Finding, ...]] = [first.findings(one) for one in records]
        for kind, watch in watches.items():
            start = time.process_time()
            for one, said in zip(records, findings, strict=True):
                watch.begin(one.call)
                watch.see(one, said)
            spent = (time.process_time() - start) / STRETCH * 1e6
            for mark in marks:
                if mark - 5 * STRETCH <= number < mark:
                    found[kind][mark].append(spent)
    return {kind: {mark: median(some) for mark, some in by_mark.items()} for kind, by_mark in found.items()}


def main() -> None:
    """Print one JSON object."""
    costs(STRETCH, KINDS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subcalls", type=int, default=100_000)
    parser.add_argument("--only", choices=["tree", "taint"], default="")
    asked = parser.parse_args()
    measured = costs(asked.subcalls, {kind: text for kind, text in KINDS.items() if text.startswith(asked.only)})
    rows: dict[str, Any] = {
        kind: {
            "microseconds": {mark: round(one, 1) for mark, one in by_mark.items()},
            "share_of_the_first": {mark: round(one / next(iter(by_mark.values())), 2) for mark, one in by_mark.items()},
        }
        for kind, by_mark in measured.items()
    }
    print(json.dumps({"load": os.getloadavg()[0], "kinds": rows}, indent=1))


if __name__ == "__main__":
    main()
