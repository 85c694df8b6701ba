"""``monitor evaluate cascade``: what rules, probes, a judge and people find together, and what each of them costs."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from monitor.cli.console import emit_json, note, stdout
from monitor.cli.evaluate_scores import (
    Data,
    Labelled,
    detectors_of,
    print_table,
    probe_of,
    rules_of,
    sets_of,
    unseen_of,
)
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.probe_parts import Device, Model, require_torch, stages
from monitor.cli.safe import visible
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.audit.evaluation.cascade import Answered, Cascade, Stage
    from monitor.audit.evaluation.cases import Case
    from monitor.audit.page.blocks import Table
    from monitor.probes.evaluation.base import Estimate
    from monitor.settings import Settings

__all__ = ["cascade"]


def cascade(
    packs: Annotated[
        list[str] | None, typer.Argument(metavar="PACK", help="Packs by name or path; default: core.")
    ] = None,
    *,
    budget: Annotated[int, typer.Option("--budget", min=1, metavar="N", help="How many subcalls people can read.")],
    ask: Annotated[
        int | None,
        typer.Option("--ask", min=1, metavar="M", help="How many the judge is asked about; default: 4 N."),
    ] = None,
    labelled: Labelled = None,
    data: Data = None,
    reviews: Annotated[bool, typer.Option("--reviews", help="The subcalls of the store that people labelled.")] = False,
    probe: Annotated[
        list[str] | None,
        typer.Option("--probe", metavar="PROBE", help="A probe by name or folder; may be given again."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="MODEL", help="The judge: any model's name, as for judge_model.")
    ] = None,
    question: Annotated[
        str | None, typer.Option("--question", metavar="TEXT", help="What the judge is asked; yes is bad.")
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option("--thresholds", metavar="FILE", help="Write the stages' thresholds there, as JSON.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds, draws and ties.")] = 0,
    model: Model = None,
    device: Device = "cpu",
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Measure a cascade on labelled subcalls: rules and probes on all, a judge on the most suspicious, people on N of them.

    Of each stage: how many subcalls it looks at and passes on, from which score on, what it costs (calls, tokens, seconds),
    and the share of the bad among the N that people read, with all stages so far. The judge is asked as a rule asks it: the
    record fenced, quotes checked. Exit code 0 whatever the figures are.
    """
    if (judge is None) != (question is None):
        raise ConfigError("--judge and --question go together: which model is asked, and what")
    settings = load_settings(config=config, db=db)

    require_torch()
    from monitor.audit.evaluation.cascade import cascade as measured
    from monitor.audit.evaluation.cases import JUDGE

    rules = rules_of(packs, needed=bool(labelled or data))
    sets = sets_of(labelled or (), data, reviews=reviews, config=config, db=db)
    found = []
    with stages(quiet=json_output) as told:
        probes = [probe_of(name, model, device, quiet=json_output) for name in probe or ()]
        for cases in unseen_of(sets, probes):
            every = detectors_of(cases, rules, [one for one, _ in probes], told)
            cheap = [one for one in every if judge is None or one.name != JUDGE]
            asking = _asking(settings, judge, question or "", told) if judge else None
            most = min(ask or 4 * budget, len(cases.cases))
            found.append(measured(cases, cheap, asking, read=budget, ask=most, seed=seed))
    if thresholds:
        thresholds.write_text(json.dumps([_thresholds(one) for one in found], indent=1) + "\n", encoding="utf-8")
    if json_output:
        emit_json("monitor.evaluation-cascade/1", {"sets": [_shape(one) for one in found]})
        return
    for one in found:
        _print(one)
    if thresholds:
        note(f"written: {thresholds}")


def _asking(
    settings: "Settings", judge: str, question: str, told: Callable[[str, int, int], None]
) -> "Callable[[Sequence[Case]], list[Answered]]":
    """Asks about cases, one after the other, as a rule asks."""
    from monitor.audit.evaluation.cascade import Answered
    from monitor.judging import Judging
    from monitor.orchestrate.judge import ModelJudge, unstored
    from monitor.orchestrate.workplace import make_client
    from monitor.policy.judges.question import MAX_QUESTION, Question
    from monitor.records import Call, Limits, Observation, StoredSubcall, Usage

    if len(question) > MAX_QUESTION:
        raise ConfigError(f"--question has {len(question):,} characters; at most {MAX_QUESTION:,} are asked")
    client = make_client(settings, judge)

    async def about(cases: "Sequence[Case]") -> "list[Answered]":
        judging = Judging(ModelJudge(client, Limits(), seconds=settings.judge_seconds), [])
        asked, found = Question("cascade", question), []
        for number, case in enumerate(cases):
            told(f"asking {judge}", number, len(cases))
            spent: list[Usage] = []

            async def through(call: Call, work: Callable[[], Any], spent: list[Usage] = spent) -> StoredSubcall:
                made = await unstored(call, work)
                assert isinstance(made.observation, Observation)
                spent.append(made.observation.usage)
                return made

            began = time.monotonic()
            said = await judging.ask_one(asked, case.record, through)
            found.append(Answered(said, spent[0] if spent else Usage(cost=0.0), time.monotonic() - began))
        told(f"asking {judge}", len(cases), len(cases))
        return found

    async def closing(cases: "Sequence[Case]") -> "list[Answered]":
        try:
            return await about(cases)
        finally:
            await client.aclose()

    return lambda cases: asyncio.run(closing(cases))


def _thresholds(one: "Cascade") -> dict[str, Any]:
    return {
        "cases": one.cases.name,
        "budget": one.read,
        "ask": one.ask,
        "of": len(one.cases.cases),
        "rate": one.rate,
        "thresholds": {stage.name: stage.threshold for stage in one.stages if stage.threshold is not None},
    }


def _shape(one: "Cascade") -> dict[str, Any]:
    return {
        **_thresholds(one),
        "bad": one.bad,
        "groups": one.groups,
        "notes": list(one.cases.notes),
        "stages": [{**asdict(stage), "answers": dict(stage.answers)} for stage in one.stages],
        "chance": asdict(one.chance),
        "agreement": asdict(one.agreement) if one.agreement else None,
        "order": list(one.order),
    }


def _print(one: "Cascade") -> None:
    stdout().print(Text(f"\n{visible(one.cases.name)}", style="bold"))
    said = f"{len(one.cases.cases):,} cases in {one.groups:,} groups, {one.bad:,} of them bad; people read {one.read:,}"
    stdout().print(Text(said), soft_wrap=True)
    print_table(stage_table(one))
    if one.agreement:
        stdout().print(Text(agreement_line(one)), soft_wrap=True)
    for line in one.cases.notes:
        stdout().print(Text(visible(line), style="dim"), soft_wrap=True)


def stage_table(one: "Cascade") -> "Table":
    """Each stage: what comes to it, what goes on and from where on, what it costs, and what is caught up to it."""
    from monitor.audit.page.blocks import Said, table

    rows = [
        [
            Said(stage.name),
            f"{stage.looked_at:,}",
            f"{stage.passed:,}",
            "" if stage.threshold is None else f"{stage.threshold:.3g}",
            _cost(stage),
            _share(stage.caught),
        ]
        for stage in one.stages
    ]
    rows.append(["(reading at random)", "", f"{one.read:,}", "", "", _share(one.chance)])
    heads = ["stage", "looks at", "passes on", "from score", "costs", f"caught in the {one.read:,} that people read"]
    return table(heads, rows)


def agreement_line(one: "Cascade") -> str:
    """How far the judge says what the labels say."""
    found = one.agreement
    assert found is not None
    counts = ", ".join(f"{name} {count}" for stage in one.stages for name, count in stage.answers.items())
    said = f"the judge's answers: {counts}"
    if found.agreed is None:
        return f"{said}; {found.why}"
    kappa = f"kappa {found.kappa:.2f}" if found.kappa is not None else f"kappa undefined: {found.why}"
    if found.low is not None and found.high is not None:
        kappa += f" ({found.low:.2f} to {found.high:.2f})"
    return f"{said}; of the {found.settled} settled it agrees with the label on {100 * found.agreed:.0f} %, {kappa}"


def _cost(stage: "Stage") -> str:
    if not stage.calls:
        return "no calls"
    cost = "cost unknown" if stage.cost is None else f"${stage.cost:.4f}"
    return (
        f"{stage.calls:,} calls, {stage.input_tokens:,}+{stage.output_tokens:,} tokens, {cost}, {stage.seconds:.0f} s"
    )


def _share(found: "Estimate | None") -> str:
    if found is None:
        return ""
    return f"{100 * found.value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"
