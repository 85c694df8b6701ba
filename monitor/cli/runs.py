"""Finding a stored run by what a person types."""

from typing import TYPE_CHECKING, Annotated

import typer

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.records import StoredRun
    from monitor.store import Store

__all__ = ["RunRef", "find_run"]

LATEST = "latest"
RunRef = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or `latest`.")]


def find_run(store: "Store", ref: str) -> "StoredRun":
    """Return the run that ``ref`` stands for.

    Raises:
        ConfigError: no such run, or several begin so, or ``latest`` of a store without runs.
        StoreError: the store cannot be read.
    """
    if ref != LATEST:
        return store.run(ref)
    runs = store.runs(limit=1)
    if not runs:
        raise ConfigError(f"there are no runs in {store.url} yet; `monitor run` makes one")
    return runs[0]
