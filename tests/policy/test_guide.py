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

DOCS = Path(__file__).parents[2] / "docs"
GUIDE, REFERENCE = DOCS / "policies.md", DOCS / "policy-language.md"


def blocks() -> list[tuple[str, str]]:
    """Every YAML block of the pages as (kind, text); a kind says which part of a rule, or which file, the block is."""
    found = []
    for page in (GUIDE, REFERENCE):
        for part in page.read_text(encoding="utf-8").split("\n```yaml")[1:]:
            head, _, rest = part.partition("\n")
            found.append((head.strip(), rest.partition("\n```")[0] + "\n"))
    return found


@pytest.mark.parametrize(("kind", "text"), blocks(), ids=lambda value: textwrap.shorten(value, 40) or "pack")
def test_every_block_loads_and_its_tests_pass(kind: str, text: str, write: Write) -> None:
    if kind == "detection":
        text = pack(text)
    elif kind == "site":
        named = next(block for block in reversed(blocks()) if block[0] == "" and "name: ends_tests_early" in block[1])
        write(named[1], "named.yaml")
    elif kind == "tests":
        text = pack("sel: {reasoning|contains: nobody is watching}\ncondition: sel", tests=text)
    else:
        assert kind == ""
    path = write(text)
    results = policy.load(sorted(path.parent.glob("*.yaml")), today="2026-11-27").run_tests()
    if kind != "tests":
        assert [result.test for result in results if not result.passed] == []


def test_there_are_blocks_of_every_kind() -> None:
    assert {kind for kind, _ in blocks()} == {"", "detection", "tests", "site"}


def test_the_tables_are_those_of_the_code() -> None:
    """Regenerate them with ``cog -r docs/policy-language.md``."""
    guide = REFERENCE.read_text(encoding="utf-8")
    assert policy.truth_table() in guide
    rows = "\n".join(f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in policy.fields_table())
    assert f"|---|---|---|\n{rows}\n" in guide


def test_every_modifier_and_key_is_named() -> None:
    from monitor.policy.lines import MODIFIERS
    from monitor.policy.schema import POLICY_FILES, FilterFile, LogSourceFile, OverrideFile, RuleFile

    guide = REFERENCE.read_text(encoding="utf-8")
    models = [*POLICY_FILES.values(), RuleFile, FilterFile, OverrideFile, LogSourceFile]
    names = {*MODIFIERS, *(name for model in models for name in model.model_fields)} - {"i", "m", "s", "license"}
    assert [name for name in sorted(names) if f"`{name}`" not in guide] == []
