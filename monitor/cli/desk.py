"""Where a person looks at findings and labels them: listed, one by one, or asked at the terminal."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from monitor.cli.asking import read_line
from monitor.cli.console import emit_json, note, stderr
from monitor.cli.detail import print_subcall
from monitor.cli.exit_codes import ExitCode
from monitor.cli.labels import candidate_json, head, in_words, label_lines, opinion_json, print_finding
from monitor.cli.safe import visible
from monitor.cli.scans import covered_json, excerpt_line, finish, print_line, scanning
from monitor.errors import ConfigError
from monitor.records import Label, Status, StoredReview

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.audit.candidates import Candidate
    from monitor.audit.reviews import Opinion
    from monitor.audit.sampling import SampleBy
    from monitor.audit.walk import Covered
    from monitor.policy import PolicySet
    from monitor.store import Scanned, Store, Wanted

__all__ = ["Desk", "Listing"]

_MENU = "true (t), false (f), unsure (u), show all (s), next (n), stop (q)"
_KEYS = {label.value[0]: label for label in Label}


class Listing:
    """Which findings are listed or asked about."""

    def __init__(
        self,
        which: "Wanted",
        span_id: str | None,
        rule: str | None,
        statuses: frozenset[Status],
        *,
        unlabelled: bool,
        sample: int | None,
        seed: int,
        sample_by: "SampleBy | None" = None,
        probe: str | None = None,
    ) -> None:
        self.which = which
        self._span_id = span_id
        self._rule = rule
        self._statuses = statuses
        self._unlabelled = unlabelled
        self._sample = sample
        self._seed = seed
        self._sample_by = sample_by
        self._probe = probe

    def find(
        self, store: "Store", rules: "PolicySet | None", covered: "Covered", *, quiet: bool
    ) -> "Iterator[Candidate]":
        """Go through the store and yield them. Raises StoreError."""
        from monitor.audit.candidates import candidates
        from monitor.audit.reviews import Labels

        labels = Labels(store.reviews(self.which.run_id))
        with scanning(store, self.which, rules, quiet=quiet) as scanned:
            chosen = self._chosen(scanned, whole_runs=bool(rules and rules.run_rules))
            found = candidates(chosen, labels, covered, statuses=self._statuses, rule=self._rule, rules=rules)
            for candidate in self._drawn(found) if self._sample else found:
                if not (self._unlabelled and candidate.opinion):
                    yield candidate

    def _chosen(self, scanned: "Iterable[Scanned]", *, whole_runs: bool) -> "Iterator[Scanned]":
        """Those of one subcall, where one is asked for; rules over a run must see the others of its run as well."""
        for item in scanned:
            if self._span_id in {None, item.span_id}:
                yield item
            elif whole_runs:
                yield replace(item, is_wanted=False)

    def _drawn(self, found: "Iterable[Candidate]") -> "Iterator[Candidate]":
        from monitor.audit.candidates import score_of
        from monitor.audit.sampling import SampleBy, Sampler

        drawn: dict[str, Sampler[Candidate]] = {}
        by = self._sample_by or SampleBy.RULE
        for candidate in found:
            name = candidate.finding.name
            sampler = drawn.setdefault(name if by is SampleBy.RULE else "", Sampler(self._sample or 0, self._seed))
            key = candidate.trace.key if by is SampleBy.RULE else f"{candidate.trace.key} {name}"
            if by is not SampleBy.SCORE:
                sampler.offer(key, candidate)
            elif (score := score_of(candidate.trace, self._probe)) is not None:
                sampler.offer_ranked(score, key, candidate)
        for sampler in drawn.values():
            yield from sampler.ranked() if by is SampleBy.SCORE else sampler.items()


class Desk:
    """Where one person labels findings."""

    def __init__(self, store: "Store", rules: "PolicySet | None", person: str, *, flag: str) -> None:
        self._store = store
        self._rules = rules
        self._person = person
        self._flag = flag

    # --------------------------------------------------------------------------------------------------- one label

    def label(
        self, run_id: str, span_id: str, rule: str, label: Label | None, why: str | None, *, json_output: bool
    ) -> None:
        """Label one finding, asking at the terminal where no label is given. Raises ConfigError."""
        candidate = self._candidate(run_id, span_id, rule)
        if label is None:
            if json_output or not sys.stdin.isatty():
                raise ConfigError(
                    f"say what you think of it: monitor review {run_id[:8]}/{span_id[:8]} {rule} true|false|unsure --why …"
                )
            if self._question(stderr(), candidate, others=True) is None:
                note("left as it was")
            return
        stored = self._store_label(candidate, label, why or "", "command")
        opinion = self._opinion(candidate)
        if json_output:
            about = {"run_id": run_id, "span_id": span_id, "review_id": stored.id, "review": stored.review}
            emit_json("monitor.review/1", {**about, **opinion_json(opinion, candidate.finding.status)})
        else:
            note(f"{label.value}, by {stored.review.by}: {in_words(opinion, candidate)}")

    def _candidate(self, run_id: str, span_id: str, rule: str) -> "Candidate":
        from monitor.audit.candidates import Candidate, candidates, find_finding
        from monitor.audit.reviews import Labels
        from monitor.audit.walk import Covered
        from monitor.store import Scanned

        covered, stored = Covered(), self._store.subcall(run_id, span_id)
        if stored.judgement is None:
            raise ConfigError(f"subcall {span_id} is not judged yet: there is no finding to label")
        scanned = [Scanned(run_id, span_id, stored.call.recipe, stored)]
        labels = Labels(self._store.reviews(run_id))
        found: list[Candidate] = list(candidates(scanned, labels, covered, statuses=list(Status), rules=self._rules))
        if covered.failures:
            raise ConfigError(f"subcall {span_id} cannot be labelled: {covered.failures[0].problem}")
        chosen = find_finding([candidate.finding for candidate in found], rule)
        return next(candidate for candidate in found if candidate.finding is chosen)

    def _store_label(self, candidate: "Candidate", label: Label, why: str, via: Any) -> StoredReview:
        """Commit a label. Raises ConfigError without a reason, and StoreError."""
        from monitor.audit.reviews import event_of, make_review

        trace = candidate.trace
        made = make_review(
            trace.span_id, candidate.finding, label, why=why, by=self._person, via=via, recorded=candidate.recorded
        )
        event = event_of(trace.run_id, made)
        self._store.append_sync(event)
        return StoredReview(id=event.span_id, run_id=trace.run_id, review=made)

    def _opinion(self, candidate: "Candidate") -> "Opinion | None":
        """What people say of it by now."""
        from monitor.audit.reviews import Labels

        trace = candidate.trace
        return Labels(self._store.reviews(trace.run_id)).about(trace.run_id, trace.span_id, candidate.finding)

    # ------------------------------------------------------------------------------------------------------ asking

    def ask(self, listing: Listing, *, second: bool) -> None:
        """Ask about one after the other, until there is no more or the person stops."""
        from monitor.audit.walk import Covered

        covered, asked, labelled = Covered(), 0, 0
        for candidate in listing.find(self._store, self._rules, covered, quiet=True):
            opinion = self._opinion(candidate)  # as it is now: somebody else may be at it too
            people = {item.review.by for item in opinion.reviews} if opinion and not opinion.other_version else set()
            if people and (not second or self._person in people):
                continue
            asked += 1
            said = self._question(stderr(), candidate, others=False)
            if said is None:
                break
            labelled += said
        note(f"{labelled} labelled" if asked else "nothing is left to label")
        finish(covered)

    def _question(self, console: Console, candidate: "Candidate", *, others: bool) -> bool | None:
        """Show one finding in place and read what they say: whether it was labelled; None is stop.

        What others said is shown only where ``others``: a second opinion should be one's own.
        """
        stored = self._store.subcall(candidate.trace.run_id, candidate.trace.span_id)
        print_finding(console, candidate, stored)
        if others:
            for line in label_lines(candidate.opinion):
                console.print(line, soft_wrap=True)
        while True:
            answer = read_line(console, f"{_MENU}? ").lower()
            if answer in {"", "q", "stop"}:
                return None
            if answer in {"n", "next"}:
                return False
            if answer in {"s", "show"}:
                print_subcall(console, stored)
                continue
            label = _KEYS.get(answer) or next((label for label in Label if label.value == answer), None)
            if label is None:
                continue
            try:
                self._store_label(candidate, label, read_line(console, "why? "), "terminal")
            except ConfigError as exc:
                console.print(Text(visible(str(exc)), style="red"), soft_wrap=True)
                continue
            return True

    # ----------------------------------------------------------------------------------------------------- listing

    def list(self, listing: Listing, *, limit: int, json_output: bool) -> None:
        """Print the findings, with evidence and labels."""
        from monitor.audit.walk import Covered

        covered = Covered()
        words = dict.fromkeys(("true", "false", "unsure", "disputed", "not labelled"), 0)
        shown: list[Candidate] = []
        for candidate in listing.find(self._store, self._rules, covered, quiet=json_output):
            words[candidate.opinion.word(candidate.finding.status) if candidate.opinion else "not labelled"] += 1
            if len(shown) < limit:
                shown.append(candidate)
        total = sum(words.values())
        if json_output:
            found = [candidate_json(candidate) for candidate in shown]
            emit_json(
                "monitor.reviews/1",
                {"covered": covered_json(covered), "total": total, "labels": words, "findings": found},
            )
            if not covered.is_whole:
                raise typer.Exit(ExitCode.UNEXPECTED)
            return
        for candidate in shown:
            self._print_listed(candidate)
        more = f", {total - len(shown):,} of them not shown (--limit)" if total > len(shown) else ""
        counts = ", ".join(f"{count:,} {word}" for word, count in words.items() if count)
        print_line(f"{total:,} finding{'' if total == 1 else 's'}{': ' if counts else ''}{counts}{more}")
        finish(covered)

    def _print_listed(self, candidate: "Candidate") -> None:
        from monitor.audit.evidence import excerpts

        trace, finding = candidate.trace, candidate.finding
        print_line(head(candidate))
        if finding.cause:
            print_line(f"why: {finding.cause}", 4)
        for excerpt in excerpts(trace.call, trace.seen, finding):
            print_line(excerpt_line(excerpt), 4)
        for line in label_lines(candidate.opinion):
            print_line(line, 4)
        if candidate.opinion is None:
            ref = f"{trace.run_id[:8]}/{trace.span_id[:8]}"
            print_line(
                Text(f"label: monitor review {ref} {finding.name} true|false|unsure --why …{self._flag}", style="dim"),
                4,
            )
        print_line("")
