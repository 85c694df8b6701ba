"""Every command in the documentation is one: the program, its group, its options and the number of its arguments."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from monitor.cli import app
from tests.docs.pages import ROOT, Block, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELL = [*blocks("sh"), *blocks("console")]
PIPES = {"|", ">", "<", "&&", "||", ";"}


def commands(block: Block) -> Iterator[list[str]]:
    """The arguments of every call of ``monitor`` in a block, each with its name first."""
    for raw in block.text.splitlines():
        words = shlex.split(raw.removeprefix("$ "), comments=True)
        call: list[str] = []
        for word in [*words, ";"]:
            if word not in PIPES:
                call.append(word)
                continue
            while call and "=" in call[0]:
                del call[0]  # an environment variable
            if call and call[0].rpartition("/")[2] == "monitor":
                yield ["monitor", *call[1:]]
            call = []


def parse(words: list[str]) -> None:
    """Parse a command line as the command does, without running it. Raises click's UsageError."""
    command: Any = get_command(app)
    context: Any = None
    name, *rest = words
    while True:
        context = command.make_context(
            name, rest, parent=context, resilient_parsing=bool(getattr(command, "commands", 0))
        )
        if not getattr(command, "commands", None):
            return
        assert rest, f"{name} needs a subcommand"
        assert rest[0] in command.commands, f"there is no command {' '.join(words)}"
        command, name, rest = command.commands[rest[0]], rest[0], rest[1:]


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_parse(block: Block, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in commands(block):
        parse(words)


def test_the_parser_refuses_what_is_no_command() -> None:
    """Otherwise the test above would prove nothing."""
    parse(["monitor", "run", "answer", "x", "--budget", "calls=1"])
    for wrong in (
        ["monitor", "run", "answer", "x", "--bugdet", "calls=1"],
        ["monitor", "runs"],
        ["monitor", "run", "a"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such option|no command|missing parameter"):
            parse(wrong)


def test_there_are_commands() -> None:
    assert sum(len(list(commands(block))) for block in SHELL) > 20


def test_targets_of_make_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for block in SHELL:
        for line in block.text.splitlines():
            if line.startswith("make "):
                target = next(word for word in line.split()[1:] if "=" not in word)
                assert f"\n{target}:" in makefile, f"{block}: {line}"
