"""``monitor policy explain``: what a rule says of one record, line by line."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.detail import surfaces
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.policy_explain_run import explain_over_run, find_test
from monitor.cli.policy_files import Policies, find_rule, loaded
from monitor.cli.runs import find_run
from monitor.cli.safe import EVIDENCE, one_line, visible
from monitor.cli.working import working
from monitor.errors import ConfigError, Fault, PolicyError
from monitor.records import Record, Span, StoredSubcall

if TYPE_CHECKING:
    from monitor.policy import Rule
    from monitor.policy.tools.explain import ExplainedClause, ExplainedPart, ExplainedSelection, Explanation

__all__ = ["explain"]

_SHOWN_EVIDENCE = 5
_AROUND = 60  # codepoints shown on each side of a piece of evidence
_LONGEST = 200  # of a longer piece as many at each end
_STYLES = {"match": "bold red", "no_match": "green", "unknown": "yellow"}


def explain(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A rule's name or id, or its beginning.")],
    record: Annotated[
        str,
        typer.Argument(
            metavar="RECORD",
            help="RUN/SUBCALL of the database, test:NAME or test:NUMBER of the rule, a YAML or JSON file with a record as "
            "the tests inside rules have it, or - for one on standard input. For a rule over a run: RUN, RUN/SUBCALL or a "
            "test of it.",
        ),
    ],
    *,
    policies: Policies = None,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Say what a rule says of a record, clause by clause, and why.

    For each line of each selection: its answer, what was looked at, what is missing and the evidence in place; then the
    condition part by part, the finding, what happens for it, and the filters that are about the rule.

    Of a rule over a run: which subcalls have a part in it, in which group each is, what it says there, and what is missing
    where it does not match.
    """
    from monitor.policy.over_run import RunRule
    from monitor.policy.tools import explain as explaining
    from monitor.policy.tools.places import nodes_of

    with working("loading rules", quiet=json_output):
        files, rules = loaded(policies)
    chosen = find_rule(rules, rule)
    if isinstance(chosen, RunRule):
        explain_over_run(rules, chosen, record, config=config, db=db, json_output=json_output)
        return
    what, found = _record(chosen, record, config, db)
    explanation = explaining.explain(rules, chosen, nodes_of(files)[chosen.id], found)
    if json_output:
        emit_json("monitor.policy-explain/1", _as_json(explanation, what))
    else:
        _print(stdout(), explanation, what, found)


def _record(rule: "Rule", ref: str, config: Path | None, db: str | None) -> tuple[str, Record]:
    """(what it is, the record) that ``ref`` stands for."""
    if ref.startswith("test:"):
        return _test(rule, ref.removeprefix("test:"))
    if ref == "-":
        return "standard input", _short(sys.stdin.read(), "standard input")
    path = Path(ref)
    if path.is_file():
        return ref, _short(path.read_text(encoding="utf-8"), ref)
    if ref.endswith((".yaml", ".yml", ".json")):
        raise ConfigError(f"there is no file {ref}; check the path")
    run, separator, span = ref.partition("/")
    if not separator:
        raise ConfigError(f"{ref}: expected RUN/SUBCALL, test:NAME, a file that ends in .yaml or .json, or -")
    return _stored(run, span, config, db)


def _test(rule: "Rule", ref: str) -> tuple[str, Record]:
    from monitor.policy import examples

    name, test = find_test(rule.name, rule.written.tests, ref)
    return f"test `{name}`, which expects {test.expect}", examples.build(test.record)


def _short(text: str, path: str) -> Record:
    """A record in short form. Raises PolicyError with every fault in it."""
    from monitor import strict_yaml
    from monitor.policy import examples

    faults: list[Fault] = []
    root = strict_yaml.parse(text, path, faults)
    if root is not None and not isinstance(root.value, dict):
        faults.append(Fault(path, 1, 1, "a record is a map.", "Write, for example, `output: the answer`."))
    elif root is not None:
        for step, problem, fix in examples.faults(root.plain()):
            mark = root.place(step)
            faults.append(Fault(path, mark.line, mark.column, problem, fix))
    if faults or root is None:
        raise PolicyError(faults)
    return examples.build(root.plain())


def _stored(run: str, span: str, config: Path | None, db: str | None) -> tuple[str, Record]:
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        subcall = store.subcall(find_run(store, run).start.run_id, span)
    if subcall.observation is None:
        raise ConfigError(f"{run}/{span}: nothing came back of this subcall yet, so there is nothing to check")
    said = subcall.judgement
    scores, answers = (said.probes, said.answers) if said else ((), ())
    what = f"subcall {subcall.call.run_id}/{subcall.call.span_id} ({subcall.call.role})"
    return what, Record(call=subcall.call, observation=subcall.observation, probes=scores, answers=answers)


def _as_json(explanation: "Explanation", what: str) -> dict[str, Any]:
    from monitor.verdict import effective_action

    rule, finding = explanation.rule, explanation.finding
    return {
        "rule": {"name": rule.name, "id": rule.id, "hash": rule.rule_hash, "pack": rule.pack}
        | {"path": rule.path, "line": rule.line},
        "record": what,
        "status": finding.status,
        "action": effective_action(finding),
        "why": explanation.why,
        "cause": finding.cause,
        "finding": finding,
        "selections": [
            {
                "name": selection.name,
                "truth": selection.truth.value,
                "used": selection.used,
                "alternatives": [
                    {"truth": part.truth.value, "clauses": [_clause_json(clause) for clause in part.clauses]}
                    for part in selection.alternatives
                ],
            }
            for selection in explanation.selections
        ],
        "condition": _part_json(explanation.condition),
        "filters": [
            {"name": one.name, "reason": one.reason, "expires": one.expires, "expired": one.is_expired}
            | {"status": one.status, "suppresses": one.name == finding.suppressed_by}
            for one in explanation.filters
        ],
    }


def _clause_json(clause: "ExplainedClause") -> dict[str, Any]:
    return {"line": clause.line, "at": clause.at, "truth": clause.truth.value, "saw": clause.saw} | {
        "causes": list(clause.causes),
        "evidence": list(clause.evidence),
    }


def _part_json(part: "ExplainedPart") -> dict[str, Any]:
    return {"word": part.word, "truth": part.truth.value, "parts": [_part_json(inner) for inner in part.parts]}


def _print(console: Console, explanation: "Explanation", what: str, record: Record) -> None:
    from monitor.verdict import effective_action

    rule, finding = explanation.rule, explanation.finding
    head = f"{rule.name} ({rule.pack} {rule.pack_version}, {finding.level.value}), {rule.path}:{rule.line}"
    _line(console, Text.assemble((visible(head), "bold")))
    _line(console, Text(visible(rule.written.title)))
    _line(console, Text.assemble(("record: ", "dim"), visible(what)))
    for selection in explanation.selections:
        console.print()
        _print_selection(console, selection, record)
    console.print()
    _line(console, Text.assemble(("condition: ", "bold"), _truth(explanation.condition.truth.value)))
    _print_part(console, explanation.condition, 1)
    console.print()
    action = effective_action(finding)
    said = Text.assemble(("finding: ", "bold"), _truth(finding.status.value))
    if finding.cause:
        said.append(f" ({visible(finding.cause)})")
    _line(console, said.append(f", action: {action.value if action else 'none'}"))
    _line(console, Text(f"  {visible(explanation.why)}", style="dim"))
    for one in explanation.filters:
        holds = "suppresses it" if one.name == finding.suppressed_by else f"says {one.status.value}"
        said = Text(f"filter {visible(one.name)} {'expired on' if one.is_expired else 'until'} {one.expires}: {holds}")
        _line(console, said.append(f" ({one_line(one.reason, 80)})", style="dim"))


def _print_selection(console: Console, selection: "ExplainedSelection", record: Record) -> None:
    unused = "" if selection.used else "  (the condition does not use it)"
    _line(console, Text.assemble((f"{selection.name}: ", "bold"), _truth(selection.truth.value), (unused, "dim")))
    several = len(selection.alternatives) > 1
    for number, part in enumerate(selection.alternatives, 1):
        if several:
            _line(console, Text.assemble((f"  alternative {number}: ", "dim"), _truth(part.truth.value)))
        for clause in part.clauses:
            _print_clause(console, clause, record, "    " if several else "  ")


def _print_clause(console: Console, clause: "ExplainedClause", record: Record, indent: str) -> None:
    said = Text.assemble(
        (f"{indent}line {clause.at}: ", "dim"), visible(clause.line), " → ", _truth(clause.truth.value)
    )
    _line(console, said)
    _line(console, Text(f"{indent}  {visible(clause.saw)}", style="dim"))
    for cause in clause.causes:
        _line(console, Text(f"{indent}  because {visible(cause)}", style="yellow"))
    texts = surfaces(StoredSubcall(call=record.call, observation=record.observation))
    for span in clause.evidence[:_SHOWN_EVIDENCE]:
        place = Text(f"{indent}  {visible(span.surface)} [{span.start}:{span.end}] ", style="dim")
        _line(console, place.append_text(_excerpt(texts.get(span.surface, ""), span, marked=not console.color_system)))
    if len(clause.evidence) > _SHOWN_EVIDENCE:
        _line(console, Text(f"{indent}  and {len(clause.evidence) - _SHOWN_EVIDENCE} more places", style="dim"))


def _excerpt(text: str, span: Span, *, marked: bool) -> Text:
    """The evidence with a little around it on one line: in colour, or between brackets where there is none (``marked``)."""
    start, end = max(0, span.start - _AROUND), min(len(text), span.end + _AROUND)
    found = text[span.start : span.end]
    if len(found) > 2 * _LONGEST:
        found = f"{found[:_LONGEST]} … {found[-_LONGEST:]}"
    before, found, after = (
        visible(part.replace("\n", " ").replace("\t", " "))
        for part in (text[start : span.start], found, text[span.end : end])
    )
    found = f"⟦{found}⟧" if marked else found
    edges = "…" if start else "", "…" if end < len(text) else ""
    return Text.assemble((edges[0] + before, ""), (found, EVIDENCE), (after + edges[1], ""), style="not dim")


def _print_part(console: Console, part: "ExplainedPart", depth: int) -> None:
    _line(console, Text.assemble("  " * depth, f"{part.word}: ", _truth(part.truth.value)))
    for inner in part.parts:
        _print_part(console, inner, depth + 1)


def _truth(value: str) -> Text:
    return Text(value, style=_STYLES.get(value, "dim"))


def _line(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)
