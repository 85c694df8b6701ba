"""What probes say of stored subcalls: each text is read once by each probe, however often it is scanned.

A score is kept under what it depends on: the probe's artefact, the weights of its model, and the commitments to the texts
that were read. A commitment is a keyed hash, so nothing that is kept helps to guess an erased text.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError

from monitor.records import ProbeScore

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.probes.attached import Prober
    from monitor.records import ProbeRef
    from monitor.store import Found

_LAYOUT = 1  # of the files: part of each key, raised where scores are made in another way


class Scores:
    """The probes of a scan, with the scores that were made before."""

    def __init__(self, prober: Prober) -> None:
        from monitor.probes import files  # noqa: PLC0415 - no scan without probes needs it

        self._prober = prober
        self._files = files
        self._folder = files.probes_dir() / "scores"

    def of(self, found: Found) -> tuple[ProbeScore, ...]:
        """What each probe says of the subcall, without the scores of single tokens. It never raises."""
        return tuple(self._one(ref, found) for ref in self._prober.refs)

    def _one(self, ref: ProbeRef, found: Found) -> ProbeScore:
        assert found.call is not None
        assert found.observation is not None
        path = self._path(ref, found)
        if not found.erased and (known := _read(path)) is not None:
            return known
        call = found.call.model_copy(update={"probes": (ref.name,)})
        (score,) = self._prober.scores(call, found.observation)
        score = score.model_copy(update={"tokens": None})
        if not found.erased and (score.score is not None or not score.applies):  # a failure may be of the moment
            with suppress(OSError), self._files.written(path) as scratch:
                scratch.write_text(score.model_dump_json(), encoding="utf-8")
        return score

    def _path(self, ref: ProbeRef, found: Found) -> Path:
        key = hashlib.sha256(f"{_LAYOUT} {ref.artefact} {ref.weights} {found.texts_key}".encode()).hexdigest()
        return self._folder / key[:2] / f"{key}.json"


def _read(path: Path) -> ProbeScore | None:
    try:
        return ProbeScore.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
