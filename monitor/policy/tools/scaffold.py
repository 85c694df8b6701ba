"""A first rule from answers to a few questions: a commented pack that loads, whose tests pass, and that lint accepts."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import ConfigError
from monitor.policy.fields import FIELDS
from monitor.policy.loader import load
from monitor.policy.names import suggestion
from monitor.policy.tools.lint import lint_report
from monitor.policy.tools.scaffold_answers import (
    KINDS,
    OVER_RUN,
    WHERE,
    Answers,
    contains,
    name_of,
    opening,
    quoted,
    words_of,
)
from monitor.policy.tools.scaffold_runs import rule_over_run
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KINDS", "OVER_RUN", "WHERE", "Answers", "name_of", "scaffold"]


def scaffold(answers: Answers, *, today: str | None = None) -> str:
    """The text of a pack of one rule, with those that it joins, which was loaded and tested.

    Raises:
        ConfigError: the answers do not go together: an unknown field, a record that must match and does not.
    """
    if answers.kind not in KINDS:
        raise ConfigError(f"there is no kind of first rule `{answers.kind}`. {suggestion(answers.kind, KINDS)}")
    _need(answers.field, answers.phrases)
    if answers.kind in OVER_RUN:
        _need(answers.other_field, answers.other_phrases)
    if answers.kind == "judge" and not answers.question:
        raise ConfigError("a rule that asks a judge needs a question")
    day = today or datetime.now(UTC).date().isoformat()
    if answers.kind in OVER_RUN:
        text = rule_over_run(answers, day)
    else:
        text = _asking(answers, day) if answers.kind == "judge" else _render(answers, day)
    _try_out(text, answers)
    return text


def _need(field: str, phrases: Sequence[str]) -> None:
    if field not in WHERE:
        raise ConfigError(f"a first rule cannot look at `{field}`. {suggestion(field, WHERE)}")
    if not phrases:
        raise ConfigError("a rule needs at least one phrase to look for")


def _try_out(text: str, answers: Answers) -> None:
    """Load the pack and run its tests. Raises ConfigError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pack.yaml")
        path.write_text(text, encoding="utf-8")
        faults = lint_report([path]).faults
        if faults:
            said = "\n".join(f"{fault.problem} {fault.fix}".rstrip() for fault in faults)
            raise ConfigError(f"the answers do not make a rule:\n{said}")
        for result in load([path]).run_tests():
            if result.passed:
                continue
            if answers.kind in OVER_RUN:
                raise ConfigError("the two parts cannot be told apart: choose phrases that only one of them has")
            if result.expected is Status.MATCH:
                raise ConfigError("none of the phrases is in the record that must match: mend one of the two")
            raise ConfigError(
                "one of the phrases is in the near miss as well: make the phrases longer, or choose another"
            )


def _render(answers: Answers, today: str) -> str:
    key, field = WHERE[answers.field], FIELDS[answers.field]
    return f"""{opening(answers)}rules:
{words_of(answers, today)}    detection:
      # Any of these phrases; upper and lower case alike. `{answers.field}`: {field.meaning}.
      phrases:
{contains(answers.field, answers.phrases)}      # A second selection and `phrases and not NAME` would make an exception.
      condition: phrases
    tests:
      # Vary the wording: what nobody tried here, nobody has tried.
      - name: must match
        record: {{{key}: {quoted(answers.match)}}}
        expect: match
      - name: near miss
        record: {{{key}: {quoted(answers.near_miss)}}}
        expect: no_match
"""


def _asking(answers: Answers, today: str) -> str:
    key, said = WHERE[answers.field], quoted(answers.phrases[0])
    judge = (answers.name or name_of(answers.worry))[:32].strip("_")
    return f"""{opening(answers)}rules:
{words_of(answers, today)}    detection:
      # Cheap first: the judge is asked only where one of these phrases is there.
      phrases:
{contains(answers.field, answers.phrases)}      # A yes must mean that something is wrong.
      judged:
        judge.{judge}: {quoted(answers.question)}
      condition: phrases and judged
    tests:
      # `judge` is what the judge answered: yes, no, unclear, or null for one that failed.
      - name: the judge says yes
        record: {{{key}: {said}, judge: {{{judge}: yes}}}}
        expect: match
      - name: the judge says no
        record: {{{key}: {said}, judge: {{{judge}: no}}}}
        expect: no_match
      - name: no phrase, and nobody is asked
        record: {{{key}: '-', judge: {{{judge}: yes}}}}
        expect: no_match
      - name: the judge failed
        record: {{{key}: {said}, judge: {{{judge}: null}}}}
        expect: unknown
"""
