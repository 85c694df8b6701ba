"""``monitor audit tree``: the subcalls above one, what its branch cost, and what information reached it from where."""

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from monitor.cli.console import emit_json, note, stdout
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.runs import RunRef, find_run
from monitor.cli.safe import EVIDENCE, one_line, visible
from monitor.cli.tree import state_text, verdict_text
from monitor.cli.working import working
from monitor.records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.flow import Flow
    from monitor.audit.subtree import RunTree, Spend
    from monitor.records import StoredRun, StoredSubcall

__all__ = ["register", "tree"]

_SHOWN = 40  # codepoints of a flow's text


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(tree)


def tree(
    ref: RunRef,
    *,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            "-w",
            metavar="LINE",
            help="Only subcalls of which this line of a rule holds, as 'role: worker'; given again, all of them must.",
        ),
    ] = None,
    subcall: Annotated[str | None, typer.Option("--subcall", "-s", metavar="SPAN", help="Only this subcall.")] = None,
    least: Annotated[
        int, typer.Option("--least", min=8, help="Codepoints that must stand in both texts, word for word.")
    ] = 32,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """For subcalls of a run: what is above them, what their branch cost, and what reached them from where.

    A line of --where is one of a detection in a policy: a field with modifiers and a value, such as
    'usage.output_tokens|gt: 1000' or 'reasoning|contains: hide'. docs/policy-language.md has the fields.

    A text reached a subcall where it stands word for word in what the subcall was handed: the whole of a message, or a
    stretch of at least --least codepoints. What was said in other words is not found.
    """
    from monitor.audit.flow import flows
    from monitor.audit.subtree import RunTree
    from monitor.policy.selecting import Selector
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    selector = Selector(where) if where else None
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        run = find_run(store, ref)
        with working("reading the run", quiet=json_output):
            subcalls = store.subcalls(run.start.run_id)
            only = store.subcall(run.start.run_id, subcall).call.span_id if subcall else None
            order = [(event.kind, event.span_id) for event in store.events(run.start.run_id)]
            branches = RunTree(subcalls)
            by_target: defaultdict[str, list[Flow]] = defaultdict(list)
            for flow in flows(run, subcalls, order, least=least):
                by_target[flow.to_span].append(flow)
    chosen, untold = _chosen([one for one in subcalls if only in {None, one.call.span_id}], selector)
    if json_output:
        told = [_object(one, branches, by_target, run) for one in chosen]
        about = {"run_id": run.start.run_id, "least": least, "where": list(where or ()), "of": len(subcalls)}
        emit_json("monitor.audit-tree/1", {**about, "subcalls": told, "untold": untold})
        return
    for one in chosen:
        _print(one, branches, by_target, run)
    note(f"{len(chosen):,} of {len(subcalls):,} subcalls")
    for span_id, why in untold.items():
        note(f"{span_id[:8]}: cannot be told: {why}")


def _chosen(subcalls: "Sequence[StoredSubcall]", selector: Any) -> "tuple[list[StoredSubcall], dict[str, str]]":
    """The subcalls of which the lines hold, and those of which it cannot be told, with the reason."""
    if selector is None:
        return list(subcalls), {}
    chosen, untold = [], {}
    for one in subcalls:
        if one.observation is None:
            untold[one.call.span_id] = "it has not come back"
            continue
        probes, answers = (one.judgement.probes, one.judgement.answers) if one.judgement else ((), ())
        record = Record(call=one.call, observation=one.observation, probes=probes, answers=answers)
        status, cause = selector.says(record)
        if status is Status.MATCH:
            chosen.append(one)
        elif status is Status.UNKNOWN:
            untold[one.call.span_id] = cause
    return chosen, untold


def _object(
    one: "StoredSubcall", branches: "RunTree", by_target: "dict[str, list[Flow]]", run: "StoredRun"
) -> dict[str, Any]:
    from monitor.audit.flow import reached

    call = one.call
    steps = reached(call.span_id, by_target)
    return {
        "span_id": call.span_id,
        "role": call.role,
        "trust": call.trust,
        "state": one.state,
        "verdict": one.judgement.verdict.value.value if one.judgement else None,
        "ancestors": [
            {"span_id": above.call.span_id, "role": above.call.role} for above in branches.ancestors(call.span_id)
        ],
        "spend": asdict(branches.spend[call.span_id]),
        "flows": [{**asdict(flow), **_who(flow, branches, run)} for flow in by_target.get(call.span_id, ())],
        "reached_by": [{"span_id": span, "steps": count} for span, count in steps.items()],
    }


def _who(flow: "Flow", branches: "RunTree", run: "StoredRun") -> dict[str, Any]:
    source = branches.by_span.get(flow.from_span)
    if source is None:
        return {"from_role": None, "from_trust": None, "crosses_trust": False}
    target = branches.by_span[flow.to_span].call.trust
    return {
        "from_role": source.call.role,
        "from_trust": source.call.trust,
        "crosses_trust": source.call.trust == "untrusted" and target == "trusted",
    }


def _print(one: "StoredSubcall", branches: "RunTree", by_target: "dict[str, list[Flow]]", run: "StoredRun") -> None:
    from monitor.audit.flow import reached

    call = one.call
    head = Text(one_line(call.role, 30), style="bold").append(f" {call.span_id[:8]}", style="cyan")
    head.append(f"  {call.trust}  ", style="dim").append_text(state_text(one.state))
    if one.judgement:
        head.append("  ").append_text(verdict_text(one.judgement.verdict.value.value))
    stdout().print(head, soft_wrap=True)
    above = [f"{one_line(item.call.role, 30)} {item.call.span_id[:8]}" for item in branches.ancestors(call.span_id)]
    _line("above", " > ".join(["the run", *above]))
    _line("branch", _spent(branches.spend[call.span_id]))
    direct = by_target.get(call.span_id, [])
    for flow in direct:
        _line("from", _told(flow, one, branches, run))
    if not direct:
        _line("from", "nothing that stands word for word in an earlier text")
    steps = reached(call.span_id, by_target)
    further = [span for span, count in steps.items() if count > 1]
    if further:
        names = [f"{_role(branches, span)} {span[:8]} ({steps[span]} steps)" for span in further]
        _line("through them", ", ".join(names))


def _role(branches: "RunTree", span_id: str) -> str:
    source = branches.by_span.get(span_id)
    return one_line(source.call.role, 30) if source else "the task of the run"


def _told(flow: "Flow", one: "StoredSubcall", branches: "RunTree", run: "StoredRun") -> Text:
    """``worker a2a2a2a2 output[0:36] is in messages[1].content[10:46] "…"``."""
    who = _who(flow, branches, run)
    name = _role(branches, flow.from_span) + (f" {flow.from_span[:8]}" if who["from_role"] else "")
    told = Text(f"{name} {flow.from_surface}[{flow.from_start}:{flow.from_end}] ")
    told.append("is " if flow.how == "whole" else "is in ").append(f"{flow.surface}[{flow.start}:{flow.end}] ")
    place = flow.surface.partition("[")[2].partition("]")[0]
    text = one.call.messages[int(place)].content if place else one.call.task
    told.append(f'"{one_line(text[flow.start : flow.end], _SHOWN)}"', style="dim")
    return told.append("  untrusted to trusted", style=EVIDENCE) if who["crosses_trust"] else told


def _spent(spend: "Spend") -> str:
    cost = f"${spend.cost:.6f}" + (f" and {spend.unpriced} without a price" if spend.unpriced else "")
    waiting = f", {spend.unanswered} not back" if spend.unanswered else ""
    return (
        f"{spend.subcalls:,} subcall{_s(spend.subcalls)}, {spend.calls:,} call{_s(spend.calls)}, "
        f"{spend.input_tokens:,}+{spend.output_tokens:,} tokens, {cost}, {spend.seconds:.1f} s{waiting}"
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _line(name: str, told: str | Text) -> None:
    text = told if isinstance(told, Text) else Text(visible(told))
    stdout().print(Text(f"  {name}: ", style="dim").append_text(text), soft_wrap=True)
