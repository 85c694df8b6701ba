"""What is looked at before a run starts or resumes: its limits, its price, its time so far, what its tools may not read,
and who else drives it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor import catalog
from monitor.canonical import canonical_text, parse_json
from monitor.errors import ConfigError
from monitor.orchestrate.confinement import Toolbox, stronger
from monitor.orchestrate.process import is_alive, owner_of, this_process
from monitor.store.location import files_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.models.base import ModelClient
    from monitor.records import Limits, RunStart, StoredRun, StoredSubcall
    from monitor.settings import Settings

SCRIPTED = "scripted:"


ACTIVE: set[str] = set()
"""The runs that this process is executing now."""


def merged(limits: Limits, over: Limits | None) -> Limits:
    """``limits`` with those of ``over`` that were given, None (no limit) among them."""
    return limits if over is None else limits.model_copy(update=over.model_dump(include=over.model_fields_set))


def refuse_unpriced(limits: Limits, client: ModelClient) -> None:
    """A cost limit needs a price. Raises ConfigError, before anything is spent."""
    if limits.cost is not None and client.price is None:
        raise ConfigError(
            f"a cost limit is set, but the price of {client.name} is unknown: give input_price and output_price in "
            "monitor.toml ([models.NAME]), or drop the cost limit. Nothing was spent"
        )


def refuse_if_alive(run: StoredRun) -> None:
    """Two processes must not drive one run. Raises ConfigError."""
    if run.state != "started":
        return
    owner = owner_of(run.resumes[-1] if run.resumes else run.start)
    if run.start.run_id in ACTIVE or (owner != this_process() and is_alive(owner)):
        raise ConfigError(
            f"run {run.start.run_id} is still being executed by process {owner.pid} on {owner.host}: "
            "wait for it or end it, then resume"
        )


def ingested_again(start: RunStart) -> str:
    """What completes a run that was read from the trace of another program, for whoever wanted to resume it."""
    how = f"`monitor ingest` of {start.source} (wherever it is now)" if start.source else ""
    how = how or "`monitor serve` with the same inbox (what it has accepted and not recorded is there)"
    return (
        f"run {start.run_id} was over before it came here ({start.recipe}), and nothing of it can be executed: "
        f"{how} completes it. Nothing was changed"
    )


def seconds_of(run: StoredRun, stored: Sequence[StoredSubcall]) -> float:
    """Wall seconds that earlier executions used: as the last end or suspension says, and from the resume after it (or from
    the start) to the last event of an execution that was killed. The time between executions is nobody's.
    """
    before = run.stops[-1].seconds if run.stops else 0.0
    if run.is_stopped:
        return before
    began = (run.resumes[-1] if run.resumes else run.start).at
    last = max((at for subcall in stored for at in _times(subcall) if at), default=began)
    return before + max(0.0, (_when(last) - _when(began)).total_seconds()) if began else before


def _times(subcall: StoredSubcall) -> tuple[str, ...]:
    return tuple(part.at for part in (subcall.call, subcall.observation, subcall.judgement) if part)


def _when(at: str) -> datetime:
    return datetime.fromisoformat(at)


def anchored(model: str | ModelClient) -> str | ModelClient:
    """A script's path made absolute, so that the run can be resumed from anywhere."""
    if isinstance(model, str) and model.startswith(SCRIPTED):
        return SCRIPTED + str(Path(model.removeprefix(SCRIPTED)).expanduser().absolute())
    return model


def name(model: str | ModelClient) -> str:
    """The model's name as the record has it."""
    return model if isinstance(model, str) else model.name


def options_text(options: Mapping[str, Any], concurrency: int, settings: Settings) -> str:
    """What a run was started with, as its record has it: the recipe's options, how it is executed, and who is its judge."""
    said = {"options": dict(options), "concurrency": concurrency, "tool_isolation": settings.tool_isolation}
    return canonical_text(said | ({"judge": judge} if (judge := judge_name(settings)) else {}))


def judge_name(settings: Settings) -> str:
    """The judge's model as the record has it; empty for none."""
    return name(anchored(settings.judge_model))


def toolbox(settings: Settings, db: str, start: RunStart) -> Toolbox:
    """The tools of a run: of untrusted roles none reads its store, policies, settings, or key of checkpoints.

    They have at least as much around them as the run's record says.
    """
    recorded = parse_json(start.options).get("tool_isolation", settings.tool_isolation)
    return Toolbox(stronger(settings.tool_isolation, recorded), hidden_files(settings, db, start.policies))


def hidden_files(settings: Settings, db: str, packs: Sequence[str]) -> frozenset[Path]:
    """What tools of untrusted roles may not read: the store, any policy, the settings."""
    hidden = [path.resolve() for path in files_of(db)]
    hidden += [catalog.shipped("policy").resolve(), *(catalog.find("policy", pack) for pack in packs)]
    hidden += [path.resolve() for path in (settings.config_file, settings.checkpoint_key) if path]
    return frozenset(hidden)
