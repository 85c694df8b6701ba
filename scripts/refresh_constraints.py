"""Write constraints.txt anew: the newest versions that pyproject.toml allows, of everything that we install.

    .venv/bin/python scripts/refresh_constraints.py

pip resolves without installing. Run ``make test`` afterwards, and read the difference before it is committed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Every version that the set-up installs, development tools included. Used by: pip install -c constraints.txt …
# Refresh with: .venv/bin/python scripts/refresh_constraints.py   (then run make test)
# torch stands here without its build: 2.13.0 admits 2.13.0+cpu, which scripts/install_torch.sh installs.
"""
LEFT_OUT = ("factored-monitor", "nvidia-", "cuda-", "triton")  # ourselves, and what only CUDA builds of torch need


def resolve() -> dict[str, str]:
    """Ask pip what it would install into an empty environment: versions by name."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += ["--editable", ".[embedded,probes,ray]", "--group", "dev", "pip"]
    report = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - fixed arguments
    packages = [item["metadata"] for item in json.loads(report)["install"]]
    return {package["name"].lower(): package["version"].partition("+")[0] for package in packages}


def main() -> None:
    """Write the file."""
    pins = {name: version for name, version in resolve().items() if not name.startswith(LEFT_OUT)}
    lines = [f"{name}=={pins[name]}\n" for name in sorted(pins)]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
