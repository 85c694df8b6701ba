"""How runs around foreign code are observed: what was given, over the settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.errors import CatalogError, ConfigError
from monitor.loaded import LoadedChecks, load_checks
from monitor.orchestrate.starting import hidden_files
from monitor.probes import Prober
from monitor.settings import Settings, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.loaded import Windows
    from monitor.orchestrate.people import Decider
    from monitor.records import Event, Limits, RunStart


@dataclass(frozen=True, slots=True)
class Loaded:
    """What runs are observed by, read and loaded: the same for every run until a setting changes."""

    settings: Settings
    db: str
    checks: LoadedChecks
    hidden: frozenset[Path]


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is observed: what is not given is the settings'.

    Who observes a run for each call keeps one of these: packs and probes are loaded once, which takes longer than most
    calls, and the settings are read again only where they may have changed.
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
    _packs: dict[tuple[str, ...], LoadedChecks] = field(default_factory=dict, init=False, repr=False, compare=False)
    _last: list[tuple[Any, Loaded]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def is_loaded(self) -> bool:
        """Whether ``load`` has nothing to read or load."""
        return bool(self._last) and self._last[0][0] == sources()

    def load(self) -> Loaded:
        """What runs are observed by; packs are as they were when they were first asked for in this working directory.

        Raises:
            ConfigError: a setting is wrong.
            CatalogError, PolicyError: a pack is not there, or wrong.
            ProbeError: a probe cannot be attached.
        """
        now = sources()
        if self._last and self._last[0][0] == now:
            return self._last[0][1]
        settings = self.settings or Settings(db=self.db, policies=self.policy, probes=self.probes)
        packs = tuple(self.policy if self.policy is not None else settings.policies)
        names = tuple(self.probes if self.probes is not None else settings.probes)
        prober = Prober(names, models=settings.probe_models, force=self.force_probes)
        key = (str(Path.cwd()), *packs)
        if key not in self._packs:
            self._packs[key] = load_checks(packs)
        checks = replace(self._packs[key], prober=prober)
        db = self.db or settings.db
        loaded = Loaded(settings, db, checks, hidden_files(settings, db, checks.packs))
        self._last[:] = [(now, loaded)]
        return loaded

    def windows(self, adapter: str) -> Windows:
        """What streams of a run of one's own are released by before their end. Raises ConfigError, PolicyError."""
        return self.load().checks.windows(adapter)


def prober_of(earlier: RunStart, settings: Settings) -> Prober:
    """The probes that a run was started with: what comes of it now is scored as what came before.

    Raises:
        ConfigError: one of them is gone, or another one is in its place.
        ProbeError: one cannot be attached.
    """
    forced = any(probe.forced for probe in earlier.probes)
    try:
        prober = Prober([probe.ref for probe in earlier.probes], models=settings.probe_models, force=forced)
    except CatalogError as exc:
        raise ConfigError(
            f"run {earlier.run_id} was started with a probe that is gone: {exc}. Put it back to go on with this run, or "
            "start a new one. Nothing was changed"
        ) from exc
    for was, found in zip(earlier.probes, prober.refs, strict=True):
        if was.artefact != found.artefact:
            raise ConfigError(
                f"run {earlier.run_id} was started with another probe {was.name!r} than the one at {was.ref} now: put that "
                "one back to go on with this run, or start a new one. Nothing was changed"
            )
    return prober
