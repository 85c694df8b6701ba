"""First rules over a run: two parts, each a rule over one subcall, and what joins them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from monitor.policy.tools.scaffold_answers import WHERE, contains, name_of, opening, quoted, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.policy.tools.scaffold_answers import Answers

_LONGEST = 56
_TEXT = "The report says that the bridge is to be closed on Monday."
_PIECE = "bridge is to be closed on"
_HANDED = {"prompt", "system", "user"}


def rule_over_run(answers: Answers, today: str) -> str:
    """The text of a pack with a rule over a run."""
    name = (answers.name or name_of(answers.worry))[:_LONGEST].strip("_")
    one, other = f"{name}_first", f"{name}_then"
    return (
        f"{opening(answers, engine=3)}rules:\n"
        "  # The two parts. Each has findings of its own; `informational` only logs them.\n"
        f"{_part(one, answers.field, answers.phrases, 'The first part', today)}"
        f"{_part(other, answers.other_field, answers.other_phrases, 'The second part', today)}"
        f"run_rules:\n{words_of(answers, today)}{_KINDS[answers.kind](answers, one, other)}"
    )


def _part(name: str, field: str, phrases: Sequence[str], what: str, today: str) -> str:
    key = WHERE[field]
    return f"""\
  - title: {quoted(f"{what}: {name}")}
    id: {uuid4()}
    name: {name}
    description: {what} of the rule over the run below.
    date: '{today}'
    level: informational
    detection:
      phrases:
{contains(field, phrases)}      condition: phrases
    tests:
      - {{record: {{{key}: {quoted(phrases[0])}}}, expect: match}}
      - {{record: {{{key}: '-'}}, expect: no_match}}
"""


def _sequence(answers: Answers, one: str, other: str) -> str:
    first, then = _records(answers)
    return f"""\
    # Judged before the other began. `temporal` asks for no order; `subcalls: 20` or `timespan: 10m` would be a window,
    # `group-by: [role]` would look at each role by itself.
    correlation: {{type: temporal_ordered, rules: [{one}, {other}]}}
    tests:
      - {{name: the one and then the other, run: [{first}, {then}], expect: match}}
      - {{name: the other way round, run: [{then}, {first}], expect: no_match}}
      - {{name: at the same time, run: [[{first}, {then}]], expect: no_match}}
"""


def _absence(answers: Answers, one: str, other: str) -> str:
    first, then = _records(answers)
    return f"""\
    # `without` is what should have been judged before; a window (`subcalls: 20`, `timespan: 10m`) asks for it nearby.
    correlation: {{type: absence, rules: [{other}], without: [{one}]}}
    tests:
      - {{name: it never came, run: [{then}], expect: match}}
      - {{name: it came too late, run: [{then}, {first}], expect: match}}
      - {{name: it came before, run: [{first}, {then}], expect: no_match}}
"""


def _tree(answers: Answers, one: str, other: str) -> str:
    def step(record: Mapping[str, str], **own: str) -> str:
        return _written({**own, **record})

    first, then = _texts(answers)
    return f"""\
    # `ancestor` is at any distance, `sibling` beside, `child` right above, `without-parent` where there is none.
    tree: {{this: {other}, parent: {one}}}
    tests:
      - name: right below
        run: [{step(first, id="above")}, {step(then, parent="above")}]
        expect: match
      - name: beside
        run: [{step(first)}, {step(then)}]
        expect: no_match
      - name: the other way round
        run: [{step(then, id="above")}, {step(first, parent="above")}]
        expect: no_match
      - name: further below
        run: [{step(first, id="top")}, {{id: above, parent: top}}, {step(then, parent="above")}]
        expect: no_match
      - name: something else below
        run: [{step(first, id="above")}, {{parent: above}}]
        expect: no_match
      - name: below something else
        run: [{{id: above}}, {step(then, parent="above")}]
        expect: no_match
"""


def _taint(answers: Answers, one: str, other: str) -> str:
    first, then = _texts(answers)
    into = "tool.arguments" if WHERE[answers.other_field] in {"tool.arguments", "tool.name"} else "prompt"
    key = WHERE[answers.other_field] if WHERE[answers.other_field] in {*_HANDED, into} else "user"
    if into == "tool.arguments":
        key = into

    def source(*, is_marked: bool = True) -> str:
        said = first if is_marked else {}
        return _written({"role": "reader", **said, "output": " ".join([*filter(None, [said.get("output")]), _TEXT])})

    def sink(text: str = _TEXT, *, is_sink: bool = True) -> str:
        shown = then if is_sink else {}
        return _written({"role": "writer", **shown, key: " ".join([*filter(None, [shown.get(key)]), text])})

    return f"""\
    # `least` codepoints in a row that both have, white space not counted. `from: [found]` would mark only what the first
    # part found; `into` names the fields in which it is looked for.
    taint: {{source: {one}, from: [output], sink: {other}, into: [{into}], least: 24}}
    tests:
      - name: it gets there
        run: [{source()}, {sink()}]
        expect: match
      - name: the other way round
        run: [{sink()}, {source()}]
        expect: no_match
      - name: a piece that is too short
        run: [{source()}, {sink(_PIECE)}]
        expect: no_match
      - name: from somewhere else
        run: [{source(is_marked=False)}, {sink()}]
        expect: no_match
      - name: to somewhere else
        run: [{source()}, {sink(is_sink=False)}]
        expect: no_match
"""


_KINDS: Mapping[str, Callable[[Answers, str, str], str]] = {
    "sequence": _sequence,
    "absence": _absence,
    "tree": _tree,
    "taint": _taint,
}


def _texts(answers: Answers) -> tuple[dict[str, str], dict[str, str]]:
    """A record in short form of each part."""
    return {WHERE[answers.field]: answers.phrases[0]}, {WHERE[answers.other_field]: answers.other_phrases[0]}


def _records(answers: Answers) -> tuple[str, str]:
    first, then = _texts(answers)
    return _written(first), _written(then)


def _written(record: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {quoted(value)}" for key, value in record.items()) + "}"
