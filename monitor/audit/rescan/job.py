"""What is to be done: a source, and the checks, in a form that travels to other processes and machines."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor import policy
from monitor.errors import ConfigError
from monitor.policy.engine import rule_keys
from monitor.policy.loader import files_of
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.audit.rescan.sources import Source
    from monitor.policy import PolicySet
    from monitor.probes.attached import Prober


@dataclass(frozen=True, slots=True)
class PolicyText:
    """Policy files by their content, so that a machine that does not have them can load them.

    ``files`` are (path below a common folder, content); ``named`` are those that were named, in their order.
    """

    files: tuple[tuple[str, bytes], ...] = ()
    named: tuple[str, ...] = ()

    @classmethod
    def of(cls, paths: Sequence[Path]) -> PolicyText:
        """The files of packs, filters and overrides, with all that they include. Raises PolicyError."""
        every = list(dict.fromkeys(path.resolve() for path in files_of(paths)))
        named = [path.resolve() for path in paths]
        if not every:
            return cls()
        top = Path(os.path.commonpath([path.parent for path in every]))
        below = [str(path.relative_to(top)) for path in every]
        contents = tuple((name, path.read_bytes()) for name, path in zip(below, every, strict=True))
        return cls(contents, tuple(os.path.relpath(path, top) for path in named))

    def load(self) -> PolicySet:
        """Load them. Raises PolicyError."""
        with tempfile.TemporaryDirectory(prefix="monitor-policies-") as folder:
            for name, content in self.files:
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return policy.load([Path(folder, name) for name in self.named])


@dataclass(frozen=True, slots=True)
class Job:
    """A source and the checks. ``probes`` are names or paths; ``keys`` is what the checks must turn out to be wherever they
    are loaded.
    """

    source: Source
    policies: PolicyText = PolicyText()
    probes: tuple[str, ...] = ()
    probe_models: Mapping[str, str] = field(default_factory=dict)
    force_probes: bool = False
    unchecked: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of a job, loaded."""

    rules: PolicySet
    prober: Prober | None

    @classmethod
    def load(cls, job: Job) -> Checks:
        """Compile the rules and attach the probes, whose model is loaded when the first subcall comes.

        Raises:
            PolicyError, CatalogError, ProbeError: as where they are loaded for a run.
            ConfigError: they are others than the job was made for.
        """
        prober = None
        if job.probes:
            from monitor.probes.attached import Prober  # noqa: PLC0415 - no scan without probes needs it

            prober = Prober(job.probes, models=job.probe_models, force=job.force_probes)
        loaded = cls(job.policies.load(), prober)
        if job.keys and loaded.keys != job.keys:
            raise ConfigError(
                "the rules or probes here are others than those of the scan: a filter may have expired since it began, "
                "another version of the monitor be installed, or a probe be changed; begin the scan again"
            )
        return loaded

    @property
    def keys(self) -> tuple[str, ...]:
        """What findings depend on besides the record, for each check."""
        probes = self.prober.refs if self.prober else ()
        return (*rule_keys(self.rules), *(f"{ref.artefact}:{ref.weights}" for ref in probes))

    def described(self) -> list[dict[str, Any]]:
        """The checks as a scan's header has them, in the order in which results number them."""
        rules: list[dict[str, Any]] = [
            {
                "check": "rule",
                "name": rule.name,
                "title": rule.written.title,
                "rule_id": rule.id,
                "rule_hash": rule.rule_hash,
                "pack": rule.pack,
                "pack_version": rule.pack_version,
                "level": quiet.level.value,
                "action": quiet.action.value,
                "on_unknown": quiet.on_unknown.value,
                "shadow": quiet.shadow,
                "filters": [one.name for one in self.rules.filters_about(rule)],
            }
            for rule in self.rules.every
            for quiet in [rule.finding(Status.NO_MATCH)]
        ]
        probes: list[dict[str, Any]] = [
            {
                "check": "probe",
                "name": ref.name,
                "artefact": ref.artefact,
                "model": ref.model,
                "weights": ref.weights,
                "level": "informational",
                "action": "log",
                "shadow": False,
            }
            for ref in (self.prober.refs if self.prober else ())
        ]
        return [{**check, "key": key} for check, key in zip([*rules, *probes], self.keys, strict=True)]
