"""The guide cannot lie: its YAML loads, its tests pass, its tables are those of the code."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor import policy
from tests.policy.packs import pack

if TYPE_CHECKING:
    from tests.policy.conftest import Write

GUIDE = Path(__file__).parents[2] / "docs" / "policies.md"


def blocks() -> list[tuple[str, str]]:
    """Every YAML block of the guide as (kind, text); a kind says which part of a rule the block is."""
    found = []
    for part in GUIDE.read_text(encoding="utf-8").split("\n```yaml")[1:]:
        head, _, rest = part.partition("\n")
        found.append((head.strip(), rest.partition("\n```")[0] + "\n"))
    return found


@pytest.mark.parametrize(("kind", "text"), blocks(), ids=lambda value: textwrap.shorten(value, 40) or "pack")
def test_every_block_loads_and_its_tests_pass(kind: str, text: str, write: Write) -> None:
    if kind == "detection":
        text = pack(text)
    elif kind == "tests":
        text = pack("sel: {reasoning|contains: nobody is watching}\ncondition: sel", tests=text)
    else:
        assert kind == ""
    results = policy.load([write(text)]).run_tests()
    if kind != "tests":
        assert [result.test for result in results if not result.passed] == []


def test_there_are_blocks_of_every_kind() -> None:
    assert {kind for kind, _ in blocks()} == {"", "detection", "tests"}


def test_the_tables_are_those_of_the_code() -> None:
    """Regenerate them with ``cog -r docs/policies.md``."""
    guide = GUIDE.read_text(encoding="utf-8")
    assert policy.truth_table() in guide
    rows = "\n".join(f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in policy.fields_table())
    assert f"|---|---|---|\n{rows}\n" in guide


def test_every_modifier_and_key_is_named() -> None:
    from monitor.policy.detection import MODIFIERS
    from monitor.policy.schema import PackFile, RuleFile

    guide = GUIDE.read_text(encoding="utf-8")
    names = {*MODIFIERS, *PackFile.model_fields, *RuleFile.model_fields} - {"i", "m", "s", "license"}
    assert [name for name in sorted(names) if f"`{name}`" not in guide] == []
