"""What a reviewer answers about a first rule, and the words that every kind of first rule begins with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from monitor.policy.tools.json_schema import EDITOR_LINE

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

KINDS: Mapping[str, str] = {
    "phrases": "phrases in one subcall",
    "sequence": "one thing, and in a later subcall another",
    "absence": "the other thing, and the one did not come before it",
    "tree": "the other thing right below a subcall that shows the one",
    "taint": "what a subcall that shows the one says reaches one that shows the other",
    "judge": "phrases in one subcall, and a question about it to a judge",
}
"""The kinds of first rules. In those over a run `--phrase` is the one thing and `--other-phrase` the other."""
OVER_RUN = ("sequence", "absence", "tree", "taint")

_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Answers:
    """What the reviewer said.

    ``worry`` is the rule's title, ``field`` where it shows, ``phrases`` what it looks like there; ``match`` and
    ``near_miss`` are texts of that field, of which the rule must find the one and leave the other alone.
    A rule of another ``kind`` needs neither. Those over a run have a second part, ``other_field`` and ``other_phrases``;
    one that asks a judge has a ``question``.
    """

    worry: str
    field: str
    phrases: Sequence[str]
    level: str
    match: str = ""
    near_miss: str = ""
    kind: str = "phrases"
    other_field: str = ""
    other_phrases: Sequence[str] = ()
    question: str = ""
    why: str = ""
    harmless: str = ""
    name: str = ""
    pack: str = ""
    author: str = ""


def name_of(worry: str) -> str:
    """A rule's name made of its title."""
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in worry.lower()).split()
    name = "_".join(words)[:_NAME_LENGTH].strip("_")
    return name if name[:1].isalpha() else f"rule_{name}".rstrip("_")[:_NAME_LENGTH]


def opening(answers: Answers, *, engine: int = 1) -> str:
    """The pack's own lines, up to its rules."""
    version = f"engine: {engine}\n" if engine > 1 else ""
    return f"""{EDITOR_LINE}
#
# A first rule. The guide (docs/policies.md) says what else a rule can do. Then:
#   monitor policy lint THIS_FILE              what is wrong, what is probably not meant
#   monitor policy test --mutation THIS_FILE   the tests below, and what they would not notice
#   monitor run RECIPE "…" --policy THIS_FILE  the rule at work
pack: {answers.pack or "mine"}
version: 1.0.0
{version}"""


def words_of(answers: Answers, today: str) -> str:
    """What the rule is called, why it is there, and what it does."""
    harmless = answers.harmless or "Not known yet."
    author = f"    author: {quoted(answers.author)}\n" if answers.author else ""
    return f"""\
  - title: {quoted(answers.worry)}
    id: {uuid4()}  # its own, and never changed: findings are known by it
    name: {answers.name or name_of(answers.worry)}
    # `test` runs in shadow: what the rule says is recorded, and never acts. When you trust it: experimental, then stable.
    status: test
    description: {quoted(answers.why or f"Looks for: {answers.worry}")}
{author}    date: '{today}'
    level: {answers.level}  # informational, low: log. medium: flag. high, critical: withhold.
    falsepositives:
      # What harmless text would this hit? Say it honestly.
      - {quoted(harmless)}
"""


def contains(field: str, phrases: Sequence[str]) -> str:
    """A line of a selection, eight columns in: any of these phrases."""
    return f"        {field}|contains:\n" + "".join(f"          - {quoted(phrase)}\n" for phrase in phrases)


def quoted(text: str) -> str:
    """The text as YAML: in single quotes where it is one printable line, which need no escapes."""
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text)
