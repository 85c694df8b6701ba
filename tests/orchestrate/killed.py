"""What runs in the process that is killed: one run against the stub, with nothing to tell its parent but the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

OFFICE = str(Path(__file__).parent / "recipes" / "office.py")
TASK = "the archive"


def arguments(db: str, base_url: str) -> dict[str, Any]:
    """What a run and its resume share."""
    from monitor.settings import Settings

    alias = {"model": "stub", "base_url": base_url, "context_tokens": 4096}
    return {"settings": Settings(db=db, model="stub", models={"stub": alias}, concurrency=4, busy_seconds=10)}


def main(db: str, base_url: str, run_id: str = "") -> None:
    """Start the run, or resume it where its id is given."""
    import monitor

    if run_id:
        monitor.resume_sync(run_id, **arguments(db, base_url))
    else:
        monitor.run_sync(OFFICE, TASK, **arguments(db, base_url))


def warm() -> None:
    """Import and load, in the process that others are forked from, what each of them would load by itself."""
    import tempfile

    import openai  # noqa: F401 - the client of the run's model

    from monitor.loaded import load_checks
    from monitor.orchestrate import run  # noqa: F401 - what a run imports
    from monitor.settings import Settings
    from monitor.store import Store

    load_checks(Settings().policies)
    with tempfile.TemporaryDirectory() as folder:
        Store.open(f"{folder}/warm.db").close()


if __name__ == "__main__":
    main(*sys.argv[1:])
