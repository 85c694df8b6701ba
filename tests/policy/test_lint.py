"""Lint: faults first, then what is allowed and probably not meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor import policy
from monitor.errors import Fault
from tests.policy.packs import pack

if TYPE_CHECKING:
    from tests.policy.conftest import Write


def test_notes(write: Write) -> None:
    detection = "sel: {output|contains: 'rm *'}\nunused: {output|contains: other}\nany_x: {output|re: 'x*'}"
    path = write(pack(f"{detection}\ncondition: sel or any_x"))
    assert [str(note).removeprefix(f"{path}:") for note in policy.lint([path])] == [
        "4:5: example: its tests do not show both a match and a no_match. Add at least one record that must match and one "
        "near miss that must not.",
        "4:5: example: it has no description. Say in a sentence what it looks for, and why.",
        "4:5: example: it names no false positives. Say honestly what harmless text it would hit.",
        "9:7: example: `*` in `sel: output|contains` means the character itself. For anything in between use `re`.",
        "10:7: example: the condition does not use `unused`. Use it, or leave it out.",
        "11:7: example: a pattern of `any_x: output|re` matches every text. Is that meant?",
    ]


def test_faults_come_first_and_other_files_are_still_read(write: Write) -> None:
    broken, sound = write("rules: [", "a.yaml"), write(pack("sel: {output|contains: needle}\ncondition: sel"), "b.yaml")
    found = policy.lint([sound, broken])
    assert [isinstance(item, Fault) for item in found] == [True, False, False, False]
    assert {item.path for item in found[1:]} == {str(sound)}


def test_patterns_without_a_literal(write: Write) -> None:
    path = write(pack("sel: {output|re: ['[0-9]{4}', 'needle[0-9]']}\ncondition: sel", level="low"))
    notes = [item for item in policy.lint([path]) if "literal" in item.problem]
    assert [note.problem for note in notes] == ["a pattern of `sel: output|re` requires no literal text."]
