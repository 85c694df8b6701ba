"""The probes of one run: attached once, asked of every subcall that has them.

Attaching is light: an artefact's sidecar is read and checked, and a probe whose evaluation raised an alarm refused, before
anything is spent. The model whose activations are scored is loaded when the first subcall comes; what then goes wrong makes
the score unknown, and the run goes on.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from monitor import catalog
from monitor.errors import MonitorError, ProbeError
from monitor.probes import installed
from monitor.records import ProbeRef, ProbeScore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from monitor.probes.scoring import Scorer
    from monitor.records import Call, Observation

_LONGEST_CAUSE = 300


class Prober:
    """The probes of one run. ``refs`` are those of every subcall; roles attach theirs when they are first used.

    Safe to use from several threads; one subcall is scored at a time.
    """

    def __init__(
        self, names: Sequence[str] = (), *, models: Mapping[str, str] | None = None, force: bool = False
    ) -> None:
        """Attach ``names`` to every subcall; with ``force`` those too whose evaluation raised an alarm.

        ``models`` says where models are that are not the embedded one: a folder or a GGUF file for the name that a probe
        gives its model.

        Raises:
            CatalogError: no such probe.
            ProbeError: one is refused, or what probes need is not installed.
        """
        self._force = force
        self._models = dict(models or {})
        self._attached: dict[str, tuple[ProbeRef, Path]] = {}
        self._scorers: dict[str, Scorer] = {}
        self._lock = threading.Lock()
        self.refs: tuple[ProbeRef, ...] = ()
        self.refs = tuple(self._attached[name][0] for name in self.attach(names))

    def attach(self, names: Sequence[str], *, near: Path | None = None) -> tuple[str, ...]:
        """Attach probes by name or path, relative to the folder ``near``; returns the names that they give themselves.

        Raises:
            CatalogError: no such probe.
            ProbeError: one is refused, has the name of another one, or what probes need is not installed.
        """
        return tuple(dict.fromkeys(self._attach(name, near) for name in names))

    def names_for(self, role_probes: Sequence[str]) -> tuple[str, ...]:
        """The names of the probes that a subcall has: the run's, and those of its role."""
        if not (self.refs or role_probes):
            return ()
        return tuple(dict.fromkeys([*(ref.name for ref in self.refs), *role_probes]))

    def scores(self, call: Call, observation: Observation) -> tuple[ProbeScore, ...]:
        """What each probe that is attached to the subcall says of it. It never raises: what goes wrong is a cause.

        It may take a model's forward pass; the first one, seconds more to load the model.
        """
        return tuple(self._score(name, call, observation) for name in call.probes)

    def _attach(self, name: str, near: Path | None) -> str:
        installed.require()
        from monitor.probes.sidecar_file import SIDECAR, read_sidecar, refuse_alarms  # noqa: PLC0415 - no run without probes needs it

        folder = catalog.find("probe", name, near=near).parent
        sidecar = read_sidecar(folder)
        known = self._attached.get(sidecar.name)
        if known is not None and known[1] != folder:
            raise ProbeError(
                f"two probes are called {sidecar.name!r}: {known[1]} and {folder}; give one of them another name"
            )
        if known is None:
            is_shipped = folder.parent == catalog.shipped("probe").resolve()
            ref = ProbeRef(
                name=sidecar.name,
                ref=folder.name if is_shipped else str(folder),
                artefact=hashlib.sha256((folder / SIDECAR).read_bytes()).hexdigest(),
                model=sidecar.model.name,
                weights=sidecar.model.weights,
                forced=refuse_alarms(sidecar, force=self._force),
            )
            self._attached[sidecar.name] = ref, folder
        return sidecar.name

    def _score(self, name: str, call: Call, observation: Observation) -> ProbeScore:
        artefact = ""
        try:
            with self._lock:
                ref, folder = self._attached[name]
                artefact = ref.artefact
                if name not in self._scorers:
                    from monitor.probes.scoring import Scorer  # noqa: PLC0415 - loads torch

                    self._scorers[name] = Scorer.load(folder, artefact, self._models)
                return self._scorers[name].score(call, observation)
        except MonitorError as exc:
            cause = str(exc)
        except KeyError:
            cause = "it is attached to the subcall, and this execution of the run has no such probe"
        except Exception as exc:  # noqa: BLE001 - a probe must not cost a trace; the cause quotes nothing of the record
            cause = f"the probe failed: {type(exc).__name__}"
        return ProbeScore(probe=name, artefact=artefact, cause=" ".join(cause.split())[:_LONGEST_CAUSE])
