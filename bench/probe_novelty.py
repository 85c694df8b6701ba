"""Whether a role's own normal is narrower than that of all roles together: novelty of planted text under both.

    python bench/probe_novelty.py DATA [LAYER]

DATA has the folders ``truth``, ``steps``, ``tasks`` and ``traces``. Five bounded roles are stood in for by harmless texts
of five narrow tasks. For each, what is normal is fitted on texts of its own training groups (alone), on as many texts of
all five roles (together), and on all training texts of all roles (all). Then held-out texts of the role are told apart from

another role   texts of the other roles: normal for somebody, and not for this role
a stranger     texts of agents that are none of the five (Magentic-One, SWE-agent)
planted        held-out texts of the role with a stranger's sentence after them

by how far they are from what is normal. AUROC, and the differences with intervals from drawing whole groups again; a role's
groups are tasks, cities, words and traces. No label is used in any fit.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monitor.probes import data, metrics, novelty
from monitor.probes.features import Reading, features
from monitor.probes.local_model import LocalModel
from monitor.probes.pooling import Pooling
from monitor.probes.words import Array, Dataset, Labelled

SEED, TRAIN, TEST = 0, 200, 100
ROUNDS = 2_000
LONGEST = 300  # codepoints of a text


@dataclass(frozen=True, slots=True)
class Part:
    """Texts of one role: row numbers of those to fit on, and of those to judge on."""

    train: list[int]
    test: list[int]


def roles(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Harmless texts with their groups, by role."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in ("multistep_arithmetic", "word_sorting"):
        steps = data.read_steps(folder / "steps" / f"{name}.jsonl")
        found[name] = [(row.text, row.group) for row in steps.rows if not row.label]
    cities = data.read(folder / "truth" / "cities.csv", columns=data.Columns(text="statement", group="city"))
    found["cities"] = [(row.text, row.group) for row in cities.rows if row.label]
    words = data.Columns(text="statement", group_pattern="word '([^']+)'")
    spanish = data.read(folder / "truth" / "sp_en_trans.csv", columns=words)
    found["translations"] = [(row.text, row.group) for row in spanish.rows if row.label]
    found["sums"] = []
    for line in (folder / "tasks" / "gsm8k_solutions_300.jsonl").read_text().splitlines():
        task = json.loads(line)
        found["sums"] += [(text, task["question"]) for text in task["ground_truth"].split("\n")[:-1] if text.strip()]
    return found


def strangers(folder: Path) -> list[tuple[str, str]]:
    """What agents of other kinds said, with their traces as groups."""
    found = []
    for path in sorted((folder / "traces" / "agentrx").glob("*.json")):
        found += [(str(message["content"]), path.stem) for message in json.loads(path.read_text())[1:]]
    for path in sorted((folder / "traces" / "swe-agent").glob("*.traj")):
        found += [(str(step["thought"]), path.stem) for step in json.loads(path.read_text()).get("trajectory", [])]
    return [(text.strip(), group) for text, group in found if len(text.strip()) > 20]


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(2)
    folder, layer = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 18
    drawn = random.Random(SEED)
    rows: list[Labelled] = []

    def add(texts: list[tuple[str, str]]) -> list[int]:
        rows.extend(Labelled(text[:LONGEST], False, group) for text, group in texts)
        return list(range(len(rows) - len(texts), len(rows)))

    parts: dict[str, Part] = {}
    for role, texts in roles(folder).items():
        groups = sorted({group for _, group in texts})
        drawn.shuffle(groups)
        held = set(groups[: len(groups) // 3])
        sides = [[one for one in texts if (one[1] in held) is side] for side in (False, True)]
        parts[role] = Part(
            *(add(drawn.sample(side, min(most, len(side)))) for side, most in zip(sides, (TRAIN, TEST), strict=True))
        )
    foreign = strangers(folder)
    alien = add(drawn.sample(foreign, min(200, len(foreign))))
    planted = {
        role: add(
            [
                (f"{rows[row].text} {rows[other].text[:100]}", rows[row].group)
                for row, other in zip(part.test, alien, strict=False)
            ]
        )
        for role, part in parts.items()
    }
    dataset = Dataset("novelty", tuple(rows), sha256=data.fingerprint(rows))
    model = LocalModel.load("embedded", device="cpu")
    found = features(model, dataset, Reading(max_tokens=256), layers=[layer])
    for kind, how in (("mahalanobis", "mean"), ("nearest", "mean"), ("mahalanobis", "last")):
        report(kind, how, found.pooled[layer, how], rows=rows, parts=parts, alien=alien, planted=planted)


def report(
    kind: Any,
    how: str,
    x: Array,
    *,
    rows: list[Labelled],
    parts: dict[str, Part],
    alien: list[int],
    planted: dict[str, list[int]],
) -> None:
    """One table: AUROC alone, together and all, and the first two's difference."""
    pooling, drawn = Pooling(how), random.Random(SEED + 1)  # type: ignore[arg-type]  # two of its names
    everything = [row for part in parts.values() for row in part.train]
    whole = novelty.fit_novelty(kind, x[everything], pooling=pooling)
    print(f"\n{kind}, {how}: AUROC of normal against foreign text; Δ = alone - together, with its 95 % interval")
    print("| role | foreign | n | alone | together | all | Δ |\n|---|---|---|---|---|---|---|")
    total: dict[str, list[float]] = {}
    for role, part in parts.items():
        alone = novelty.fit_novelty(kind, x[part.train], pooling=pooling)
        together = novelty.fit_novelty(kind, x[drawn.sample(everything, len(part.train))], pooling=pooling)
        others = [row for name, other in parts.items() if name != role for row in other.test]
        for what, bad in (("another role", others), ("a stranger", alien), ("planted", planted[role])):
            judged = np.array([*part.test, *bad])
            labels = np.arange(len(judged)) >= len(part.test)
            scores = [fitted.score_pooled(x[judged]) for fitted in (alone, together, whole)]
            value = [metrics.auroc(one, labels) for one in scores]
            low, high = difference(scores[0], scores[1], labels, [rows[row].group for row in judged])
            total.setdefault(what, []).append(value[0] - value[1])
            delta = f"{value[0] - value[1]:+.3f} ({low:+.3f} to {high:+.3f})"
            print(
                f"| {role} | {what} | {len(part.test)} / {len(bad)} | {value[0]:.3f} | {value[1]:.3f} | {value[2]:.3f} "
                f"| {delta} |"
            )
    for what, values in total.items():
        print(f"{what}: mean Δ over the roles {np.mean(values):+.3f}")


def difference(one: Any, two: Any, labels: Any, groups: list[str]) -> tuple[float, float]:
    """The paired bootstrap's 95 % interval of AUROC(one) - AUROC(two), whole groups drawn again."""
    _, at = np.unique(np.array(groups), return_inverse=True)
    count = int(at.max()) + 1
    times = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=ROUNDS)
    found = [metrics.auroc(one, labels, each[at]) - metrics.auroc(two, labels, each[at]) for each in times]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
