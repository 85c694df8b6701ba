"""Commands that go through all stored subcalls: which ones, a progress bar with the time left, and what was not covered."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from monitor.audit.times import utc_of
from monitor.cli.console import error_line, note, stderr, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.runs import find_run
from monitor.cli.safe import highlighted, visible
from monitor.errors import ConfigError
from monitor.records import Span

if TYPE_CHECKING:
    from monitor.audit.evidence import Excerpt
    from monitor.audit.walk import Covered
    from monitor.policy import PolicySet
    from monitor.store import Scanned, Store, Wanted

__all__ = [
    "Packs",
    "Recipe",
    "Role",
    "Run",
    "Samples",
    "Seed",
    "Since",
    "Unchecked",
    "Until",
    "as_json",
    "covered_json",
    "excerpt_line",
    "finish",
    "load_packs",
    "number",
    "print_covered",
    "print_line",
    "scanning",
    "time_of",
    "wanted",
]

Packs = Annotated[list[str] | None, typer.Argument(metavar="PACK", help="Packs by name or path.")]
Run = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Only this run: its id, its beginning, or `latest`.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only what started at this time or later: 2026-11-22[T10:00]."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only what started before this time (UTC).")]
Role = Annotated[list[str] | None, typer.Option("--role", help="Only this role; may be given again.")]
Recipe = Annotated[list[str] | None, typer.Option("--recipe", help="Only runs of this recipe; may be given again.")]
Unchecked = Annotated[bool, typer.Option("--unchecked", help="Look also at subcalls that their recipe left unchecked.")]
Samples = Annotated[
    int, typer.Option("--sample", min=0, metavar="N", help="How many examples to show, drawn by --seed.")
]
Seed = Annotated[int, typer.Option("--seed", help="Another seed draws other examples.")]


def load_packs(packs: Sequence[str]) -> "PolicySet":
    """Load packs by name or path. Raises CatalogError and PolicyError."""
    from monitor import catalog, policy

    return policy.load([catalog.find("policy", name) for name in packs])


def wanted(  # noqa: PLR0917 - one for each option
    store: "Store | None",
    run: str | None,
    since: str | None,
    until: str | None,
    roles: list[str] | None,
    recipes: list[str] | None,
) -> "Wanted":
    """Return what the options ask for; without a store a run is named by its whole id. Raises ConfigError."""
    from monitor.store import Wanted

    first, last = period_of(since, until)
    return Wanted(
        run_id=run if run is None or store is None else find_run(store, run).start.run_id,
        since=first,
        until=last,
        roles=frozenset(roles or ()),
        recipes=frozenset(recipes or ()),
    )


def time_of(flag: str, text: str | None) -> str | None:
    """A time as events carry it; one without a zone is UTC. Raises ConfigError."""
    if text is None:
        return None
    try:
        return utc_of(text)
    except ValueError:
        raise ConfigError(f"{flag} {text!r}: expected a date or time such as 2026-11-22 or 2026-11-22T10:00") from None


def period_of(since: str | None, until: str | None) -> tuple[str | None, str | None]:
    """The two times as events carry them. Raises ConfigError, also for a period that ends before it begins."""
    first, last = time_of("--since", since), time_of("--until", until)
    if first is not None and last is not None and last <= first:
        raise ConfigError(f"--until {until}: expected a time after --since {since}; nothing is in this period")
    return first, last


@contextmanager
def scanning(
    store: "Store", which: "Wanted", *rules: "PolicySet | None", quiet: bool = False
) -> "Iterator[Iterator[Scanned]]":
    """Go through the store; a bar on a terminal's standard error says how far it is and how long it still takes.

    Where one of ``rules`` goes by several subcalls of a run, run by run, as ``audit.evaluating.Follower`` needs it.
    """
    by_run = any(some is not None and some.run_rules for some in rules)
    columns = (TextColumn("runs" if by_run else "events"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True, disable=quiet or not sys.stderr.isatty()) as bar:
        task = bar.add_task("events", total=None)
        yield store.scan(
            which, by_run=by_run, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )


# ----------------------------------------------------------------------------------------------- what was not covered


def print_covered(covered: "Covered") -> None:
    """Print what was looked at, and everything that was not."""
    lines = [f"{number(covered.subcalls, 'subcall')} of {number(len(covered.runs), 'run')} looked at"]
    for count, why in (
        (covered.unanswered, "not looked at: nothing has come back (yet)"),
        (covered.unchecked, "not looked at: left unchecked by the recipe (--unchecked looks at them)"),
        (covered.unjudged, "not looked at: not judged"),
    ):
        if count:
            lines.append(f"{number(count, 'subcall')} {why}")
    if covered.erased_texts:
        lines.append(
            f"{number(covered.erased_texts, 'text')} in {number(covered.erased_subcalls, 'subcall')} erased: "
            "what stood there is found by no rule"
        )
    for line in lines:
        print_line(line)


def finish(covered: "Covered") -> None:
    """Say what could not be looked at, and end with exit code 1 if anything was."""
    if covered.is_whole:
        return
    for failure in covered.failures:
        note(f"  {failure.run_id}/{failure.span_id}: {failure.problem}")
    if covered.failed > len(covered.failures):
        note(f"  and {covered.failed - len(covered.failures)} more")
    error_line(f"{number(covered.failed, 'subcall')} could not be looked at: these figures are not of everything")
    raise typer.Exit(ExitCode.UNEXPECTED)


def covered_json(covered: "Covered") -> dict[str, Any]:
    """The same for ``--json``."""
    return {
        "subcalls": covered.subcalls,
        "runs": len(covered.runs),
        "unanswered": covered.unanswered,
        "unchecked": covered.unchecked,
        "unjudged": covered.unjudged,
        "failed": covered.failed,
        "failures": [failure._asdict() for failure in covered.failures],
        "erased_texts": covered.erased_texts,
        "erased_subcalls": covered.erased_subcalls,
        "whole": covered.is_whole,
    }


def number(count: int, what: str) -> str:
    """A count with its noun, in the plural where that is due."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


# ------------------------------------------------------------------------------------------------------------ printing


def print_line(text: str | Text, indent: int = 0) -> None:
    """Print one line on standard output, long or not; what is no ``Text`` is made safe."""
    shown = text if isinstance(text, Text) else Text(visible(text))
    stdout().print(Text(" " * indent).append_text(shown), soft_wrap=True)


def excerpt_line(excerpt: "Excerpt") -> Text:
    """A piece of evidence marked in a little of its text, on one line."""
    before, text, after = (
        part.replace("\n", " ").replace("\t", " ") for part in (excerpt.before, excerpt.text, excerpt.after)
    )
    opening = "…" if excerpt.start > len(before) else ""
    ending = "…" if excerpt.rest and not excerpt.cut else ""
    whole = before + text + after
    mark = Span(surface=excerpt.surface, start=len(before), end=len(before) + len(text))
    cut = f" [… {excerpt.cut:,} codepoints not shown …]" if excerpt.cut else ""
    return Text.assemble((f"{visible(excerpt.surface)}: ", "dim"), opening, highlighted(whole, [mark]), ending, cut)


def as_json(value: Any) -> Any:
    """A dataclass as a map, for ``emit_json``."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
