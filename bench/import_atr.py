"""What `monitor policy import atr` takes over of folders of Agent Threat Rules, and what it takes.

    python bench/import_atr.py FOLDER… [--without FOLDER]

Each folder by itself, with all that is below it. ``--without`` leaves out the files that have the name of a file in that
folder. Seconds are the process's own processor time: of each file by itself, as if it were the only one, and then of all
of them as one import, which also loads what it made. Prints Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.policy.importers import Result, import_atr
from monitor.policy.importers.reasons import NOTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.policy.importers import FileReport


def main() -> None:
    """Print the figures of each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--without", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    known = {path.name for path in _rules(arguments.without)} if arguments.without else set()
    for folder in arguments.folders:
        files = [path for path in _rules(folder) if path.name not in known]
        print(f"## {folder.name}: {len(files)} files\n")
        _print(files)


def _rules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in {".yaml", ".yml"})


def _print(files: Sequence[Path]) -> None:
    seconds: dict[str, float] = {}
    for path in files:
        begin = time.process_time()
        import_atr([path])
        seconds[path.name] = time.process_time() - begin
    begin = time.process_time()
    reports = import_atr(files).files
    whole = time.process_time() - begin
    results = Counter(report.result for report in reports)
    print("| | imported | of |\n|---|---|---|")
    print(f"| files (wholly {results[Result.IMPORTED]}, partly {results[Result.PARTLY]}) ", end="")
    print(f"| {len(reports) - results[Result.REFUSED]} | {len(reports)} |")
    print(f"| conditions | {sum(r.conditions_imported for r in reports)} | {sum(r.conditions for r in reports)} |")
    print(f"| tests, all of which agree | {sum(r.tests_imported for r in reports)} ", end="")
    print(f"| {sum(len(r.tests) for r in reports)} |\n")
    print(f"Reasons: {_counted(_reasons(reports))}\n")
    slowest = max(seconds, key=lambda name: seconds[name])
    print(
        f"Seconds a file: median {statistics.median(seconds.values()):.2f}, most {seconds[slowest]:.1f} ({slowest}); "
    )
    print(f"all in one import {whole:.0f}.\n")


def _reasons(reports: Iterable[FileReport]) -> Counter[str]:
    """How often each reason is given, notes left out, and those of the tests of refused files counted as they are."""
    found: Counter[str] = Counter()
    for report in reports:
        found.update(remark.reason.value for remark in report.remarks if remark.kind != NOTE)
        found.update(test.left_out.reason.value for test in report.tests if test.left_out)
    return found


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"`{name}` {count}" for name, count in found.most_common()) or "none"


if __name__ == "__main__":
    main()
