"""Which files of the public data may be looked at while rules are written, and which may not.

A figure for rules holds for text that their author has not seen. So the files of each set are halved **by name alone**,
before any of them is read: the names are put in the order of the SHA-256 of ``SEED:name``, and the first half (rounded up)
is ``development``, the rest ``held_out``. ``split.yaml`` is what came of it; anybody can make it again:

    python -m monitor.audit.evaluation.split DATA

prints it for the folder DATA, and a test holds the stored file to the function.
"""

from __future__ import annotations

import hashlib
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import strict_yaml
from monitor.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SEED = "factored-monitor evaluation 1"
SPLIT_FILE = Path(__file__).with_name("split.yaml")
SETS = {
    "rules-atr": "rules-atr/*.yaml",
    "swe-agent": "traces/swe-agent/*.traj",
    "agentrx": "traces/agentrx/*.json",
    "inspect": "traces/inspect/*.eval",
}
"""The name of each set that is split, and its files below the data folder."""


class Half(StrEnum):
    """Where a file belongs. A file that the split does not name is ``unlisted``: nobody can say who has seen it."""

    DEVELOPMENT = "development"
    HELD_OUT = "held_out"
    UNLISTED = "unlisted"


def halve(names: Iterable[str], seed: str = SEED) -> dict[str, Half]:
    """Every name with its half. It depends on the set of names and the seed only, not on their order."""
    ordered = sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    middle = (len(ordered) + 1) // 2
    halves = {name: Half.DEVELOPMENT if rank < middle else Half.HELD_OUT for rank, name in enumerate(ordered)}
    return {name: halves[name] for name in sorted(halves)}


def read_split(path: Path = SPLIT_FILE) -> dict[str, dict[str, Half]]:
    """Set → file name → half, as stored.

    Raises:
        ConfigError: the file is not such a table.
    """
    faults: list[Fault] = []
    root = strict_yaml.read(path, faults)
    if root is None or faults:
        raise ConfigError("\n".join(map(str, faults)))
    try:
        return {
            name: {file: Half(half) for half, files in halves.items() for file in files}
            for name, halves in root.plain()["sets"].items()
        }
    except (KeyError, AttributeError, TypeError, ValueError) as exc:
        raise ConfigError(
            f"{path}: expected `sets:` with lists of files by half, found something else ({exc})"
        ) from exc


def written(sets: Mapping[str, Mapping[str, Half]]) -> str:
    """The text of ``split.yaml``."""
    lines = [
        "# Made by `python -m monitor.audit.evaluation.split DATA` from the names of the files alone, before any new rule",
        "# of the six packs was written. Never change it by hand; never read a held-out file while you write rules.",
        f"seed: {SEED}",
        "sets:",
    ]
    for name, files in sets.items():
        lines.append(f"  {name}:")
        for half in (Half.DEVELOPMENT, Half.HELD_OUT):
            lines.append(f"    {half.value}:")
            lines += [f"      - {file}" for file in sorted(files) if files[file] is half]
    return "\n".join(lines) + "\n"


def make(data: Path) -> dict[str, dict[str, Half]]:
    """The split of the files that are in ``data``; a set without files is left out."""
    found = {name: halve(path.name for path in data.glob(pattern)) for name, pattern in SETS.items()}
    return {name: files for name, files in found.items() if files}


if __name__ == "__main__":
    sys.stdout.write(written(make(Path(sys.argv[1]))))
