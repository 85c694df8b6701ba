"""What should have followed and did not: gaps in sequences, starts without ends, names of what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.audit.integrity.walk import Steps, Walk


class Gap(NamedTuple):
    """Something that is missing: what kind of thing, where, in words."""

    what: str
    run_id: str
    span_id: str
    detail: str


_STEPS = ("started", "observed", "judged")


def gaps_of(walk: Walk, grace_until: str = "") -> tuple[list[Gap], int]:
    """The gaps, and how many runs still go on: those with an event later than ``grace_until`` need no end yet."""
    newest: dict[str, str] = {}
    for (run, _), steps in walk.spans.items():
        newest[run] = max(newest.get(run, ""), steps.at)
    fresh = {run for run, at in newest.items() if grace_until and at > grace_until}
    gaps: list[Gap] = []
    going_on: set[str] = set()
    for (run, span), steps in walk.spans.items():
        for gap in _of_span(walk, run, span, steps):
            if run in fresh and gap.what in {"unfinished run", "unfinished subcall", "waits for a person"}:
                going_on.add(run)
            else:
                gaps.append(gap)
    gaps += [
        Gap("run without a start", run, "", "events of it are there, and not the one that starts it")
        for run in newest.keys() - walk.runs.keys()
    ]
    gaps += [
        Gap("dropped by an adapter", run, "", f"{count} or more records of its trace could not be read when it came in")
        for run, count in walk.dropped.items()
    ]
    for run, span, kind, named in walk.mentions:
        if named != walk.runs.get(run) and (run, named) not in walk.spans:
            gaps.append(Gap("missing subcall", run, named, f"the {kind} event of {span} names it, and it is not there"))
    return gaps, len(going_on)


def _of_span(walk: Walk, run: str, span: str, steps: Steps) -> Iterator[Gap]:
    missing = sorted(set(range(steps.last + 1)) - steps.kinds.keys())
    if missing:
        named = ", ".join(
            _STEPS[seq] if seq < len(_STEPS) and walk.runs.get(run) != span else str(seq) for seq in missing
        )
        yield Gap("sequence gap", run, span, f"step {named} is not there, and later ones are")
    last = steps.kinds[steps.last]
    if walk.runs.get(run) == span:
        if last not in {"run_ended", "run_suspended"}:
            yield Gap(
                "unfinished run", run, span, f"the last of its own events is {last}: it still runs, or was killed"
            )
        elif last == "run_suspended":
            yield Gap("waits for a person", run, span, "it is suspended until somebody decides")
    elif last == "started":
        yield Gap("unfinished subcall", run, span, "it was started, and nothing came back")
    elif last == "observed":
        yield Gap("unfinished subcall", run, span, "an answer came back, and was never judged")
    elif steps.asks:
        yield Gap("waits for a person", run, span, "it was put before a person, and nobody has decided")
