"""How long it takes until the package is there: whole processes, beside a Python that does nothing.

python bench/start_up.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python that does nothing": ["-c", "pass"],
    "import monitor": ["-c", "import monitor"],
    "import pydantic (beside)": ["-c", "import pydantic; pydantic.BaseModel"],
    "import monitor; monitor.run": ["-c", "import monitor; monitor.run"],
    "monitor --help": ["-m", "monitor", "--help"],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            took[name].append(time.perf_counter() - began)
    print(f"seconds, median of {rounds} processes (least to most)")
    for name, times in took.items():
        print(f"  {name:<28} {statistics.median(times):.3f} ({min(times):.3f} to {max(times):.3f})")


if __name__ == "__main__":
    main()
