"""The whole data folder, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from monitor.audit.evaluation.peer_rules import SOURCE, read_peer
from monitor.audit.evaluation.split import Half, read_split
from monitor.audit.evaluation.traces import read_set, read_solutions
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.audit.evaluation.samples import Part

ALL = frozenset(Half)
DEVELOPMENT = frozenset({Half.DEVELOPMENT})
LOG = Path(__file__).with_name("held_out.yaml")
"""Where people write down each evaluation of the held-out half."""


def read_data(data: Path, wanted: frozenset[Half] = ALL) -> Iterator[Part]:
    """Every part of the folder, of the halves that are wanted: files of another half are not opened.

    Raises:
        ConfigError: there is no such folder, nothing of it is known, or a file cannot be read.
    """
    if not data.is_dir():
        raise ConfigError(f"{data}: expected the folder with the public data, found none")
    split = read_split()
    found = False
    for name in ("swe-agent", "agentrx", "inspect"):
        part = read_set(name, data, split.get(name, {}), wanted)
        found = found or not part.missing
        yield part
    for part in (read_solutions(data), read_peer(data, split.get(SOURCE, {}), wanted)):
        found = found or not part.missing
        yield part
    if not found:
        raise ConfigError(f"{data}: none of the public sets is in it; it has traces/, tasks/ or rules-atr/ in it")
