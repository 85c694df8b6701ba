"""``monitor policy new``: a first rule from answers to a few questions."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.console import emit_json, note
from monitor.cli.options import Json
from monitor.errors import ConfigError
from monitor.records import Level

__all__ = ["new"]


def new(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the pack there; an existing file is left alone.")
    ] = None,
    worry: Annotated[str | None, typer.Option("--worry", help="What worries you, in a line: the rule's title.")] = None,
    field: Annotated[
        str | None, typer.Option("--field", help="Where it shows: written, reasoning, output, tool.arguments, data, …")
    ] = None,
    phrase: Annotated[
        list[str] | None, typer.Option("--phrase", help="What it looks like there; may be given again.")
    ] = None,
    level: Annotated[Level | None, typer.Option("--level", help="How grave a match is.")] = None,
    match: Annotated[str | None, typer.Option("--match", help="A text that the rule must find.")] = None,
    near_miss: Annotated[
        str | None, typer.Option("--near-miss", help="A text that is close to it, and that the rule must leave alone.")
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="phrases (in one subcall); over a run: sequence, absence, tree or taint; judge (a question).",
        ),
    ] = "phrases",
    other_field: Annotated[
        str | None, typer.Option("--other-field", help="Over a run: where the second part shows.")
    ] = None,
    other_phrase: Annotated[
        list[str] | None,
        typer.Option("--other-phrase", help="Over a run: what the second part looks like; may be given again."),
    ] = None,
    question: Annotated[
        str | None,
        typer.Option("--question", help="For a judge: a question that a yes answers where something is wrong."),
    ] = None,
    why: Annotated[str, typer.Option("--why", help="Why it worries you: the rule's description.")] = "",
    harmless: Annotated[str, typer.Option("--harmless", help="What harmless text the rule would hit.")] = "",
    name: Annotated[str, typer.Option("--name", help="The rule's name; default: made of its title.")] = "",
    pack: Annotated[str, typer.Option("--pack", help="The pack's name; default: that of the file.")] = "",
    author: Annotated[str, typer.Option("--author", help="Who writes the rule.")] = "",
    json_output: Json = False,
) -> None:
    """Make a pack with one commented rule, its tests and an id of its own.

    Asks on a terminal for what the options leave out. The rule is loaded and its tests are run before anything is written.
    It starts with `status: test`: recorded, never acting. An existing pack is never added to: copy the rule over.

    A rule over a run (`--kind`) joins two parts, `--phrase` and `--other-phrase`: the one and in a later subcall the other
    (sequence), the other without the one before it (absence), the other right below the one (tree), what the one says in
    the prompt or the tools' arguments of the other (taint). Its tests are made of the phrases.
    """
    from monitor.policy.tools.scaffold import KINDS, OVER_RUN, WHERE, Answers, name_of, scaffold

    if kind not in KINDS:
        raise ConfigError(f"--kind is one of {', '.join(KINDS)}, and not {kind}")
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already; name another file, and copy the rule over")
    asker = _Asker(ask=sys.stdin.isatty() and not json_output)
    worry = asker.text(worry, "--worry", "What worries you, in a line?")
    field = asker.choice(field, "--field", "Where does it show?", list(WHERE))
    phrases = phrase or asker.texts("--phrase", "What does it look like there? One phrase a line, an empty line ends")
    chosen = asker.choice(level and level.value, "--level", "How grave is it?", [one.value for one in Level])
    if kind == "phrases":
        match = asker.text(match, "--match", f"A text ({field}) that the rule must find?")
        near_miss = asker.text(near_miss, "--near-miss", "A text close to it that the rule must leave alone?")
    elif kind == "judge":
        question = asker.text(question, "--question", "What is the judge asked? A yes means that something is wrong")
    else:
        assert kind in OVER_RUN, "there are no other kinds"
        other_field = asker.choice(other_field, "--other-field", "Where does the second part show?", list(WHERE))
        what = "What does the second part look like? One phrase a line, an empty line ends"
        other_phrase = other_phrase or asker.texts("--other-phrase", what)
    answers = Answers(
        worry=worry,
        field=field,
        phrases=phrases,
        level=chosen,
        match=match or "",
        near_miss=near_miss or "",
        kind=kind,
        other_field=other_field or "",
        other_phrases=other_phrase or (),
        question=question or "",
        why=why,
        harmless=harmless,
        name=name,
        pack=pack or (name_of(out.stem) if out is not None else "mine"),
        author=author,
    )
    asker.stop_if_missing()
    text = scaffold(answers)
    schema = _write(out, text) if out is not None else None
    if json_output:
        emit_json("monitor.policy-new/1", {"path": out, "schema": schema, "text": text})
    elif out is None:
        sys.stdout.write(text)
    else:
        beside = f", and {schema} for editors" if schema else ""
        note(f"wrote {out}{beside}; now: monitor policy test --mutation {out}")


def _write(out: Path, text: str) -> Path | None:
    """Write the pack, and beside it the schema that its first line names, unless there is one; return that if new."""
    from monitor.policy.tools.json_schema import FILE_NAME, policy_schema_text

    schema = out.parent / FILE_NAME
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
        if schema.exists():
            return None
        schema.write_text(policy_schema_text(), encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{out} cannot be written: {exc.strerror}") from exc
    return schema


class _Asker:
    """Takes the answers that were given, asks for others, or remembers which are missing."""

    def __init__(self, *, ask: bool) -> None:
        self._ask = ask
        self._missing: list[str] = []

    def text(self, given: str | None, flag: str, question: str) -> str:
        if given is not None:
            return given
        if self._ask:
            return str(typer.prompt(question, err=True))
        self._missing.append(flag)
        return ""

    def choice(self, given: str | None, flag: str, question: str, choices: Sequence[str]) -> str:
        answer = self.text(given, flag, f"{question} ({', '.join(choices)})")
        while self._ask and answer not in choices:
            answer = str(typer.prompt(f"One of {', '.join(choices)}", err=True))
        return answer

    def texts(self, flag: str, question: str) -> list[str]:
        if not self._ask:
            self._missing.append(flag)
            return []
        found = [self.text(None, flag, question)]
        while more := str(typer.prompt("another", default="", show_default=False, err=True)):
            found.append(more)
        return found

    def stop_if_missing(self) -> None:
        """Raise ConfigError where answers are missing and nobody can be asked."""
        if self._missing:
            raise ConfigError(f"there is no terminal to ask at; give {', '.join(self._missing)}")
