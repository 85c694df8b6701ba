r"""Rules over a run: what one more subcall costs as its run grows from 100 to 100,000 subcalls.

    python bench/run_rules.py [--subcalls N]

For each kind of correlation, each with and without a window and with its subcalls in 100 groups or in ever new ones, a run
of 100,000 subcalls is followed: each begins and is seen, two of three have a part in the rule, and four are in flight at a
time. The findings of the joined rules are made beforehand: what is measured is what the rule over the run adds.

Processor time is taken in blocks: subcalls 100 to 1,000, and then tenths of the whole run. ``last/first`` is the median of
the last three tenths by the first: flat is 1. The script fails where it is above 2.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from monitor import policy
from monitor.policy import examples

PARTS = "".join(
    f"  - {{title: part {name}, id: 45a9e88a-2172-46e5-9d6a-76815d99080{number}, name: part_{name}, level: low,\n"
    f"     detection: {{a: {{output|contains: {name}}}, condition: a}}}}\n"
    for number, name in enumerate("ab")
)
KINDS = {
    "temporal_ordered": "rules: [part_a, part_b]",
    "temporal": "rules: [part_a, part_b]",
    "absence": "rules: [part_a], without: [part_b]",
    "event_count": "rules: [part_a, part_b], condition: {gte: 1000000}",
    "value_count": "rules: [part_a, part_b], condition: {gte: 1000000}, field: role",
    "value_sum": "rules: [part_a, part_b], condition: {gte: 1000000000}, field: usage.output_tokens",
}
WINDOWS = {"whole run": "", "20 subcalls": ", subcalls: 20", "60 s": ", timespan: 60s"}
IN_FLIGHT = 4
ALLOWED = 2.0


def main() -> None:
    """Follow a run with each rule, and print what a subcall costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subcalls", type=int, default=100_000)
    options = parser.parse_args()
    print("| rule | window | groups | µs at 100 to 1,000 | µs, first tenth | µs, last tenths | last/first |")
    print("|---|---|---|---|---|---|---|")
    worst = 0.0
    for kind, (window, written), groups in itertools.product(KINDS, WINDOWS.items(), ("100", "new")):
        early, first, last = measured(kind, written, groups, options.subcalls)
        ratio = last / first
        worst = max(worst, ratio)
        print(f"| {kind} | {window} | {groups} | {early:.1f} | {first:.1f} | {last:.1f} | {ratio:.2f} |", flush=True)
    print(f"\nworst last/first: {worst:.2f}")
    if worst > ALLOWED:
        raise SystemExit(f"a rule costs more and more: {worst:.2f} is above {ALLOWED}")


def measured(kind: str, window: str, groups: str, count: int) -> tuple[float, float, float]:
    """(microseconds a subcall at 100 to 1,000, in the first tenth, the median of the last three tenths)."""
    text = (
        f"pack: t\nversion: 1.0.0\nengine: 3\nrules:\n{PARTS}run_rules:\n"
        "  - {title: it, id: 45a9e88a-2172-46e5-9d6a-76815d990900, name: it, level: high,\n"
        f"     correlation: {{type: {kind}, group-by: [model], {KINDS[kind]}{window}}}}}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pack.yaml")
        path.write_text(text, encoding="utf-8")
        rules = policy.load([path])
    blanks = [examples.build({"output": word, "usage.output_tokens": 3}) for word in ("a", "b", "x")]
    found = [rules.findings(blank) for blank in blanks]
    watch = rules.watch()
    spent = [0.0] * count
    flying = []
    for number in range(count):
        blank = blanks[number % 3]
        group = number % 100 if groups == "100" else number
        at = f"2026-01-{1 + number // 86_400:02}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
        call = blank.call.model_copy(
            update={"span_id": f"{number:016x}", "model": f"m{group}", "role": f"r{number % 7}", "at": at}
        )
        record = blank.model_copy(update={"call": call})
        began = time.process_time()
        watch.begin(call)
        flying.append((number, record))
        if len(flying) == IN_FLIGHT:
            earlier, seen = flying.pop(0)
            watch.see(seen, found[earlier % 3])
        spent[number] = time.process_time() - began
    tenth = count // 10
    blocks = [sum(spent[start : start + tenth]) / tenth * 1e6 for start in range(0, tenth * 10, tenth)]
    return sum(spent[100:1000]) / 900 * 1e6, blocks[0], statistics.median(blocks[-3:])


if __name__ == "__main__":
    main()
