"""How runs around foreign code are observed: what was given, over the settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import CatalogError, ConfigError
from monitor.pipeline import LoadedChecks, load_checks
from monitor.probes import Prober
from monitor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.orchestrate.people import Decider
    from monitor.records import Event, Limits, RunStart


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is observed: what is not given is the settings'.

    Who observes a run for each call keeps one of these: packs are loaded once, which takes longer than most calls.
    """

    policy: Sequence[str] | None = None
    budget: Limits | None = None
    probes: Sequence[str] | None = None
    force_probes: bool = False
    db: str | None = None
    settings: Settings | None = None
    listener: Callable[[Event], None] | None = None
    decider: Decider | None = None
    patience: float = 0.0
    _loaded: dict[tuple[str, ...], LoadedChecks] = field(default_factory=dict, init=False, repr=False, compare=False)

    def all_settings(self) -> Settings:
        """The settings, with what was given here. Raises ConfigError."""
        return self.settings or Settings(db=self.db, policies=self.policy, probes=self.probes)

    def checks(self, settings: Settings, earlier: RunStart | None = None) -> LoadedChecks:
        """What a run is checked by: packs as they were when they were first asked for here, and the probes.

        A run that is gone on with has the probes of its start: what came before and what comes now is scored alike.

        Raises:
            CatalogError, PolicyError: a pack is not there, or wrong.
            ProbeError: a probe cannot be attached.
            ConfigError: a probe of ``earlier`` is gone.
        """
        packs = tuple(self.policy if self.policy is not None else settings.policies)
        key = (str(Path.cwd()), *packs)
        if key not in self._loaded:
            self._loaded[key] = load_checks(packs)
        return replace(self._loaded[key], prober=self._prober(settings, earlier))

    def _prober(self, settings: Settings, earlier: RunStart | None) -> Prober:
        if earlier is None:
            names = self.probes if self.probes is not None else settings.probes
            return Prober(names, models=settings.probe_models, force=self.force_probes)
        forced = any(probe.forced for probe in earlier.probes)
        try:
            return Prober([probe.ref for probe in earlier.probes], models=settings.probe_models, force=forced)
        except CatalogError as exc:
            raise ConfigError(
                f"run {earlier.run_id} was started with a probe that is gone: {exc}. Put it back to go on with this run, "
                "or start a new one. Nothing was changed"
            ) from exc
