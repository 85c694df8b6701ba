"""One subcall in full: what it was handed, what came back, what was found, with the evidence marked in place."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from monitor.audit import evidence
from monitor.cli.probing import highest, probe_line, shaded
from monitor.cli.safe import highlighted, one_line, visible
from monitor.cli.tree import calls, notable, standing, state_text, tokens, verdict_text
from monitor.records import Action, FarSpan, Finding, Limits, Span, Status, StoredSubcall, Usage
from monitor.verdict import effective_action

__all__ = ["evidence_lines", "far_lines", "print_subcall", "surfaces"]

SHOWN_WHOLE = 20_000  # codepoints of one text; of a longer one its head and the evidence are shown
SNIPPET = 60  # codepoints on each side of a piece of evidence


def surfaces(subcall: StoredSubcall) -> dict[str, str]:
    """Return every text of the record under the name that evidence uses for it (see ``records.Span``)."""
    return evidence.surfaces(subcall.call, subcall.observation)


def evidence_lines(subcall: StoredSubcall, finding: Finding, *, most: int = 3) -> Iterator[Text]:
    """Yield one line for each piece of evidence: its surface, and the marked text with a little around it."""
    texts = surfaces(subcall)
    for span in finding.evidence[:most]:
        text = texts.get(span.surface, "")
        start, end = max(0, span.start - SNIPPET), min(len(text), span.end + SNIPPET)
        shifted = Span(surface=span.surface, start=span.start - start, end=min(span.end, end) - start)
        snippet = text[start:end].replace("\n", " ").replace("\t", " ")  # one codepoint for one: offsets stay true
        before, after = "…" if start else "", "…" if end < len(text) else ""
        yield Text.assemble(
            (f"{visible(span.surface)}: ", "dim"), before, highlighted(snippet, [shifted], limit=4 * SNIPPET), after
        )
    if len(finding.evidence) > most:
        yield Text(f"and {len(finding.evidence) - most} more places", style="dim")


def far_lines(
    run: Mapping[str, StoredSubcall], finding: Finding, names: Mapping[str, str] | None = None, *, most: int = 10
) -> Iterator[Text]:
    """Yield one line for each piece of evidence in other subcalls of the run: whose it is, and its text as above."""
    for span in finding.elsewhere[:most]:
        other = run.get(span.span_id)
        name = (names or {}).get(span.span_id) or (other.call.role if other else "a subcall")
        head = Text(f"{one_line(name, 40)} {span.span_id[:8]}", style="cyan")
        if other is not None and span.surface:
            here = Finding(check="rule", name=finding.name, status=finding.status, evidence=(_near(span),))
            head.append(" ").append_text(next(evidence_lines(other, here)))
        yield head
    if len(finding.elsewhere) > most:
        yield Text(f"and {len(finding.elsewhere) - most} more places", style="dim")


def _near(span: FarSpan) -> Span:
    return Span(surface=span.surface, start=span.start, end=span.end, clause=span.clause)


class _Printer:
    """Prints the sections of one subcall."""

    def __init__(self, console: Console, subcall: StoredSubcall, *, full: bool) -> None:
        self._console = console
        self._limit = None if full else SHOWN_WHOLE
        self._spans: defaultdict[str, list[Span]] = defaultdict(list)
        for finding in notable(subcall):
            for span in finding.evidence:
                self._spans[span.surface].append(span)

    def title(self, title: str) -> None:
        self._console.print(Rule(Text(visible(title), style="bold"), align="left", style="dim"))

    def fact(self, name: str, value: str | Text) -> None:
        shown = value if isinstance(value, Text) else visible(value)
        self._console.print(Text.assemble((f"{name:<10} ", "dim"), shown), soft_wrap=True)

    def text(self, surface: str, text: str) -> None:
        shown = highlighted(text, self._spans[surface], limit=self._limit)
        self._console.print(shown if text else Text("(empty)", style="dim"), soft_wrap=True)


def print_subcall(
    console: Console, subcall: StoredSubcall, *, full: bool = False, run: Mapping[str, StoredSubcall] | None = None
) -> None:
    """Print one subcall. Texts beyond 20,000 codepoints are shown in part unless ``full``; the evidence always is.

    ``run`` has the subcalls of its run by span, of which evidence that stands in them is shown.
    """
    printer = _Printer(console, subcall, full=full)
    _print_facts(printer, subcall)
    _print_handed(printer, subcall)
    _print_seen(printer, subcall)
    _print_judgement(console, printer, subcall, run or {})
    _print_probes(console, printer, subcall)
    _print_answers(console, printer, subcall)
    _print_decisions(printer, subcall)


def _print_facts(printer: _Printer, subcall: StoredSubcall) -> None:
    call, seen = subcall.call, subcall.observation
    printer.title(f"{call.role} {call.span_id}")
    printer.fact("state", state_text(subcall.state))
    if subcall.judgement:
        printer.fact("verdict", verdict_text(subcall.judgement.verdict.value.value))
    printer.fact("kind", f"{call.kind}, {call.trust}, depth {call.depth}, attempt {call.attempt}")
    printer.fact("parent", call.retry_of or call.parent_id or "the run")
    printer.fact(
        "model", f"{call.model}{f' (answered as {seen.model_reported})' if seen and seen.model_reported else ''}"
    )
    printer.fact("sampling", f"temperature {_or_default(call.temperature)}, seed {_seed(call.seed)}")
    printer.fact("time", f"{call.at}{f', {seen.seconds:.2f} s' if seen else ''}")
    printer.fact("reserved", _usage(call.reserved))
    if seen:
        printer.fact(
            "used", _usage(seen.usage) + ("" if seen.usage_reported else " (the reservation: nothing was reported)")
        )
    if subcall.released_before_final:
        printer.fact("stream", _released(subcall))
    printer.fact("budget", _limits(call.budget_left))
    if call.tools:
        printer.fact("tools", ", ".join(call.tools))


def _released(subcall: StoredSubcall) -> str:
    """How much was handed on before the answer was whole and judged."""
    lengths = {name: sum(len(getattr(part, name)) for part in subcall.released) for name in ("reasoning", "output")}
    said = " and ".join(f"{length:,} codepoints of the {name}" for name, length in lengths.items() if length)
    return (
        f"released before final: {said}, in {len(subcall.released):,} part{'' if len(subcall.released) == 1 else 's'}"
    )


def _print_handed(printer: _Printer, subcall: StoredSubcall) -> None:
    call = subcall.call
    printer.title("task")
    printer.text("task", call.task)
    for index, message in enumerate(call.messages):
        printer.title(f"handed: messages[{index}] {message.role}")
        if message.content or not message.tool_calls:
            printer.text(f"messages[{index}].content", message.content)
        for number, tool_call in enumerate(message.tool_calls):
            printer.text(f"messages[{index}].tool_calls[{number}].name", tool_call.name)
            printer.text(f"messages[{index}].tool_calls[{number}].arguments", tool_call.arguments)


def _print_seen(printer: _Printer, subcall: StoredSubcall) -> None:
    seen = subcall.observation
    if seen is None:
        printer.title("nothing came back (yet)")
        return
    reasoning = seen.reasoning
    where = f", from: {reasoning.source}" if reasoning.source else ""
    printer.title(f"reasoning ({reasoning.state.value}{where})")
    printer.text("reasoning", reasoning.text)
    printer.title(f"output ({seen.finish_reason or seen.outcome.value})")
    printer.text("output", seen.output)
    if seen.raw and seen.raw != seen.output:
        printer.title("reply, word for word")
        printer.text("raw", seen.raw)
    for index, tool_call in enumerate(seen.tool_calls):
        refused = f" refused: {tool_call.refused}" if tool_call.refused else ""
        printer.title(f"tool_calls[{index}]{refused}")
        printer.text(f"tool_calls[{index}].name", tool_call.name)
        printer.text(f"tool_calls[{index}].arguments", tool_call.arguments)
    if seen.error:
        printer.title(f"error ({seen.error.kind})")
        printer.text("error", seen.error.message)
    for exceeded in seen.exceeded:
        printer.fact("exceeded", str(exceeded))


def _print_judgement(
    console: Console, printer: _Printer, subcall: StoredSubcall, run: Mapping[str, StoredSubcall]
) -> None:
    judgement = subcall.judgement
    if judgement is None:
        printer.title("not judged (yet)")
        return
    counts = ", ".join(
        f"{number} {status.value}"
        for status in Status
        if (number := sum(finding.status is status for finding in judgement.findings))
    )
    printer.title(f"findings: {counts or 'none'}")
    printer.fact("action", judgement.action.value)
    if judgement.verdict.note:
        printer.fact("note", judgement.verdict.note)
    for finding in (one for one in notable(subcall) if one.check != "probe"):  # they have sections of their own
        acted = effective_action(finding) or Action.LOG
        head = f"{finding.status.value} {one_line(finding.name, 80)}"
        head += f" ({finding.level.value}, {acted.value}, {finding.pack or finding.check}){standing(finding)}"
        console.print(Text(head, style="yellow"))
        if finding.title or finding.cause:
            printer.fact("", f"{finding.title}{f' — {finding.cause}' if finding.cause else ''}")
        for line in evidence_lines(subcall, finding, most=20):
            console.print(Text("  ").append_text(line), soft_wrap=True)
        for line in far_lines(run, finding, most=20):
            console.print(Text("  with ").append_text(line), soft_wrap=True)


def _print_probes(console: Console, printer: _Printer, subcall: StoredSubcall) -> None:
    texts = surfaces(subcall)
    for score in subcall.judgement.probes if subcall.judgement else ():
        printer.title(f"probe {score.probe}")
        console.print(probe_line(score), soft_wrap=True)
        if score.threshold is not None and score.rate is not None:
            low, high = score.rate_low or 0.0, score.rate_high if score.rate_high is not None else 1.0
            share = f"{score.rate:.2g} of harmless texts ({low:.2g} to {high:.2g})"
            printer.fact("speaks at", f"{score.threshold:.3g}: {share}")
        if score.unread:
            printer.fact("unread", f"{score.unread:,} tokens, beyond the cap")
        if score.tokens and score.tokens.scores:
            text = texts.get(score.tokens.surface, "")
            tops = (f"{one_line(token, 20)!r} {value:.2g}" for token, value in highest(text, score.tokens))
            printer.fact("highest", ", ".join(tops))
            carried = (repr(one_line(text[span.start : span.end], 40)) for span in score.evidence)
            printer.fact("carried by", ", ".join(carried))
            printer.fact("shaded", f"{score.tokens.surface}, the redder the higher; struck through: not scored")
            console.print(shaded(text, score.tokens), soft_wrap=True)


def _print_answers(console: Console, printer: _Printer, subcall: StoredSubcall) -> None:
    texts = surfaces(subcall)
    for one in subcall.judgement.answers if subcall.judgement else ():
        printer.title(f"judge {one.judge}: {one.answer or 'no answer'}")
        if one.cause:
            printer.fact("because", one.cause)
        asked = f"subcall {one.span_id}{', of an earlier subcall with the same texts' if one.is_cached else ''}"
        printer.fact("asked in", asked if one.span_id else "")
        printer.fact("model", one.model)
        for span in one.evidence:
            quote = one_line(texts.get(span.surface, "")[span.start : span.end], 200)
            printer.fact("quotes", f"{span.surface} [{span.start}:{span.end}] {quote!r}")


def _print_decisions(printer: _Printer, subcall: StoredSubcall) -> None:
    for decision in subcall.decisions:
        printer.title(f"decided: {decision.choice.value}")
        printer.fact("by", f"{decision.by} ({decision.via})")
        printer.fact("at", decision.at)
        printer.fact("why", decision.why)
        if decision.output:
            printer.fact("instead", decision.output)
    if subcall.awaits_human:
        printer.title(f"waits for a decision: monitor decide {subcall.call.span_id[:8]} approve --why …")


def _or_default(value: float | None) -> str:
    return "the model's own" if value is None else f"{value:g}"


def _seed(value: int | None) -> str:
    return "none" if value is None else str(value)


def _usage(usage: Usage) -> str:
    cost = "cost unknown" if usage.cost is None else f"${usage.cost:.6f}"
    return f"{calls(usage)}, {tokens(usage)} ({usage.cached_tokens:,} cached), {usage.tool_calls} tool calls, {cost}"


def _limits(limits: Limits) -> str:
    set_limits = [f"{name} {value:g}" for name, value in limits if value is not None]
    return f"{', '.join(set_limits)} left" if set_limits else "no limit"
