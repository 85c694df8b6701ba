"""``monitor policy explain`` for rules over a run: over a stored run, or over one of their tests."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.detail import evidence_lines, far_lines
from monitor.cli.options import load_settings
from monitor.cli.runs import find_run
from monitor.cli.safe import visible
from monitor.errors import ConfigError
from monitor.records import Record, Status, StoredSubcall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.policy import PolicySet
    from monitor.policy.over_run import RunRule
    from monitor.policy.schema import ExampleFile, RunExampleFile
    from monitor.policy.tools.explain_run import ExplainedSubcall, RunExplanation, RunStep

__all__ = ["explain_over_run", "find_test"]

_Test = TypeVar("_Test", bound="ExampleFile | RunExampleFile")
_STYLES = {"match": "bold red", "no_match": "green", "unknown": "yellow"}


def explain_over_run(
    rules: "PolicySet", rule: "RunRule", ref: str, *, config: Path | None, db: str | None, json_output: bool
) -> None:
    """Print what the rule says of the run that ``ref`` stands for. Raises ConfigError, CatalogError and StoreError."""
    from monitor.policy.tools.explain_run import explain_run

    if ref.startswith("test:"):
        name, test = find_test(rule.name, rule.written.tests, ref.removeprefix("test:"))
        what, span, steps = f"test `{name}`, which expects {test.expect}", "", _of_test(test)
    elif ref == "-" or Path(ref).is_file():
        raise ConfigError(
            f"{ref}: a rule over a run is explained over a stored run (RUN or RUN/SUBCALL) or a test (test:NAME)"
        )
    else:
        run, _, span = ref.partition("/")
        what, steps = _stored(run, span, config, db)
    explanation = explain_run(rules, rule, steps)
    shown = [one for one in explanation.subcalls if one.span_id.startswith(span)]
    if json_output:
        emit_json("monitor.policy-explain-run/1", _as_json(explanation, shown, what))
    else:
        _print(explanation, shown, what, steps)


def find_test(rule: str, tests: "Sequence[_Test]", ref: str) -> "tuple[str, _Test]":
    """(name, test) of the test that ``ref`` names, or alone begins with, or counts from 1. Raises ConfigError."""
    from monitor.policy.names import suggestion

    names = [test.name or str(number) for number, test in enumerate(tests, 1)]
    chosen = [number for number, name in enumerate(names) if name == ref]
    if not chosen and ref.isdecimal() and 0 < int(ref) <= len(tests):
        chosen = [int(ref) - 1]
    chosen = chosen or [number for number, name in enumerate(names) if name.startswith(ref)]
    if len(chosen) == 1:
        return names[chosen[0]], tests[chosen[0]]
    problem = f"several tests of `{rule}` begin so" if chosen else f"`{rule}` has no test `{ref}`"
    raise ConfigError(f"{problem}. {suggestion(ref, names)} A number does as well: test:1 to test:{len(tests)}.")


def _of_test(test: "RunExampleFile") -> "list[RunStep]":
    from monitor.policy.over_run import run_examples
    from monitor.policy.tools.explain_run import RunStep

    steps = []
    for step in run_examples.build(test.run):
        steps += [RunStep(is_end=False, call=record.call) for _, record in step.subcalls]
        steps += [
            RunStep(True, one.call, one if one.call.checked else None, name, one.observation)
            for name, one in run_examples.in_order(step)
        ]
    return steps


def _stored(run: str, span: str, config: Path | None, db: str | None) -> "tuple[str, list[RunStep]]":
    from monitor.policy.tools.explain_run import RunStep
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        run_id = find_run(store, run).start.run_id
        if span:
            store.subcall(run_id, span)
        # Questions to a judge are the monitor's own, and no part of what rules over a run follow.
        subcalls = [one for one in store.subcalls(run_id) if not one.call.is_monitors]
    begins = [(one.began_at, False, one) for one in subcalls if one.began_at is not None]
    ends = [(one.judged_at, True, one) for one in subcalls if one.judged_at is not None]
    return f"run {run_id}", [
        RunStep(is_end, one.call, _record(one) if is_end else None, observation=one.observation)
        for _, is_end, one in sorted([*begins, *ends], key=lambda step: step[0])
    ]


def _record(subcall: StoredSubcall) -> Record | None:
    if subcall.observation is None or subcall.judgement is None or not subcall.call.checked:
        return None
    judgement = subcall.judgement
    return Record(
        call=subcall.call, observation=subcall.observation, probes=judgement.probes, answers=judgement.answers
    )


def _as_json(explanation: "RunExplanation", shown: "Sequence[ExplainedSubcall]", what: str) -> dict[str, Any]:
    from monitor.verdict import effective_action

    rule = explanation.rule
    return {
        "rule": {"name": rule.name, "id": rule.id, "hash": rule.rule_hash, "pack": rule.pack}
        | {"path": rule.path, "line": rule.line},
        "run": what,
        "status": explanation.status,
        "others": explanation.others,
        "subcalls": [
            {"span_id": one.span_id, "role": one.role, "name": one.name, "number": one.number, "at": one.at}
            | {"parts": {part: status.value for part, status in one.parts.items()}, "groups": list(one.groups)}
            | {"status": one.finding.status, "action": effective_action(one.finding), "missing": one.missing}
            | {"finding": one.finding}
            for one in shown
        ],
    }


def _print(
    explanation: "RunExplanation", shown: "Sequence[ExplainedSubcall]", what: str, steps: "Sequence[RunStep]"
) -> None:
    from monitor.verdict import effective_action

    rule, kind = explanation.rule, explanation.rule.written.kind
    _line(Text.assemble((visible(f"{rule.name} ({rule.pack} {rule.pack_version}), {rule.path}:{rule.line}"), "bold")))
    _line(Text(visible(rule.written.title)))
    _line(Text.assemble(("over: ", "dim"), visible(what)))
    written = getattr(rule.written, kind).model_dump(by_alias=True, exclude_defaults=True, exclude_none=True)
    _line(
        Text.assemble(
            (f"{kind}: ", "dim"), visible(", ".join(f"{key} {_flow(value)}" for key, value in written.items()))
        )
    )
    known = {step.call.span_id: step.record for step in steps if step.record is not None}
    names = {one.span_id: one.name for one in explanation.subcalls}
    for one in shown:
        _line(Text(""))
        head = f"subcall {one.number}: {f'`{one.name}`, ' if one.name else ''}{one.role} {one.span_id[:8]}"
        group = f", in the group {'; '.join(one.groups)}" if any(one.groups) else ""
        _line(Text.assemble((visible(head), "bold"), visible(f", {one.at[:19].replace('T', ' ')}{group}")))
        for part, status in one.parts.items():
            if status in {Status.MATCH, Status.UNKNOWN}:
                _line(Text.assemble("  ", visible(part), " → ", (status.value, _STYLES[status.value])))
        finding = one.finding
        said = Text.assemble("  finding: ", (finding.status.value, _STYLES.get(finding.status.value, "dim")))
        action = effective_action(finding)
        _line(said.append(f", action: {action.value}" if action else ""))
        if one.missing:
            _line(Text(f"    {visible(one.missing)}", style="dim"))
        if one.span_id in known:
            record = known[one.span_id]
            own = StoredSubcall(call=record.call, observation=record.observation)
            for line in evidence_lines(own, finding):
                _line(Text("    ").append_text(line))
        for line in far_lines(_subcalls(known), finding, names):
            _line(Text("    with ").append_text(line))
    _line(Text(""))
    others = f"{explanation.others:,} other subcall{'' if explanation.others == 1 else 's'} of the run"
    _line(Text(f"{others}: no part of the rule has anything to say there", style="dim"))


def _flow(value: object) -> str:
    """A value as it may stand in the file."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(one)}' for key, one in value.items())}}}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _subcalls(records: "Mapping[str, Record]") -> dict[str, StoredSubcall]:
    return {span: StoredSubcall(call=one.call, observation=one.observation) for span, one in records.items()}


def _line(text: Text) -> None:
    stdout().print(text, soft_wrap=True)
