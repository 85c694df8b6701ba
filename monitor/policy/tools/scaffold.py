"""A first rule from answers to a few questions: a commented pack that loads, whose tests pass, and that lint accepts."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from monitor.errors import ConfigError
from monitor.policy.fields import FIELDS
from monitor.policy.loader import load
from monitor.policy.names import suggestion
from monitor.policy.tools.json_schema import EDITOR_LINE
from monitor.policy.tools.lint import lint_report
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WHERE: Mapping[str, str] = {
    "written": "output",
    "reasoning": "reasoning",
    "output": "output",
    "tool.arguments": "tool.arguments",
    "tool.name": "tool.name",
    "tool.result": "tool.result",
    "data": "user",
    "task": "task",
    "prompt": "prompt",
    "system": "system",
    "user": "user",
    "error": "error",
}
"""The fields that a first rule can look at, each with the key under which a test's record has such a text."""

_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Answers:
    """What the reviewer said.

    ``worry`` is the rule's title, ``field`` where it shows, ``phrases`` what it looks like there; ``match`` and
    ``near_miss`` are texts of that field, of which the rule must find the one and leave the other alone.
    """

    worry: str
    field: str
    phrases: Sequence[str]
    level: str
    match: str
    near_miss: str
    why: str = ""
    harmless: str = ""
    name: str = ""
    pack: str = ""
    author: str = ""


def scaffold(answers: Answers, *, today: str | None = None) -> str:
    """The text of a pack of one rule, which was loaded and tested.

    Raises:
        ConfigError: the answers do not go together: an unknown field, a record that must match and does not.
    """
    if answers.field not in WHERE:
        raise ConfigError(f"a first rule cannot look at `{answers.field}`. {suggestion(answers.field, WHERE)}")
    if not answers.phrases:
        raise ConfigError("a rule needs at least one phrase to look for")
    text = _render(answers, today or datetime.now(UTC).date().isoformat())
    _try_out(text)
    return text


def name_of(worry: str) -> str:
    """A rule's name made of its title."""
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in worry.lower()).split()
    name = "_".join(words)[:_NAME_LENGTH].strip("_")
    return name if name[:1].isalpha() else f"rule_{name}".rstrip("_")[:_NAME_LENGTH]


def _try_out(text: str) -> None:
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
            if result.expected is Status.MATCH:
                raise ConfigError("none of the phrases is in the record that must match: mend one of the two")
            raise ConfigError(
                "one of the phrases is in the near miss as well: make the phrases longer, or choose another"
            )


def _render(answers: Answers, today: str) -> str:
    key = WHERE[answers.field]
    field = FIELDS[answers.field]
    harmless = answers.harmless or "Not known yet."
    author = f"    author: {_quoted(answers.author)}\n" if answers.author else ""
    phrases = "".join(f"          - {_quoted(phrase)}\n" for phrase in answers.phrases)
    return f"""{EDITOR_LINE}
#
# A first rule. The guide (docs/policies.md) says what else a rule can do. Then:
#   monitor policy lint THIS_FILE              what is wrong, what is probably not meant
#   monitor policy test --mutation THIS_FILE   the tests below, and what they would not notice
#   monitor run RECIPE "…" --policy THIS_FILE  the rule at work
pack: {answers.pack or "mine"}
version: 1.0.0
rules:
  - title: {_quoted(answers.worry)}
    id: {uuid4()}  # its own, and never changed: findings are known by it
    name: {answers.name or name_of(answers.worry)}
    # `test` runs in shadow: what the rule says is recorded, and never acts. When you trust it: experimental, then stable.
    status: test
    description: {_quoted(answers.why or f"Looks for: {answers.worry}")}
{author}    date: '{today}'
    level: {answers.level}  # informational, low: log. medium: flag. high, critical: withhold.
    detection:
      # Any of these phrases; upper and lower case alike. `{answers.field}`: {field.meaning}.
      phrases:
        {answers.field}|contains:
{phrases}      # A second selection and `phrases and not NAME` would make an exception.
      condition: phrases
    falsepositives:
      # What harmless text would this hit? Say it honestly.
      - {_quoted(harmless)}
    tests:
      # Vary the wording: what nobody tried here, nobody has tried.
      - name: must match
        record: {{{key}: {_quoted(answers.match)}}}
        expect: match
      - name: near miss
        record: {{{key}: {_quoted(answers.near_miss)}}}
        expect: no_match
"""


def _quoted(text: str) -> str:
    """The text as YAML: in single quotes where it is one printable line, which need no escapes."""
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text)
