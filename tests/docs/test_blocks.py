"""What a reader can copy works: programs run, recipes end well, roles and packs load, SQL answers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import monitor
from monitor import policy
from monitor.models.alias import read_aliases
from monitor.models.scripted import ScriptedModel
from monitor.orchestrate.roles import load_role
from monitor.settings import Settings
from tests.docs.conftest import fill
from tests.docs.pages import ELSEWHERE, PAGES, ROOT, Block, blocks

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"


def here(language: str, part: str) -> list[Block]:
    """The blocks that no other test tries."""
    return [block for block in blocks(language, part) if block.page.name not in ELSEWHERE]


def recipe_name(block: Block) -> str:
    """The function of a recipe block; the file is named after it."""
    return block.text.partition("async def ")[2].partition("(")[0]


def role_name(block: Block) -> str:
    return block.text.partition("\nname: ")[2].partition("\n")[0]


def write_roles(page: Path, folder: Path) -> None:
    """Put the roles of a page where its recipes look for them."""
    (folder / "roles").mkdir(exist_ok=True)
    for block in blocks("markdown", "role", on=page):
        (folder / "roles" / f"{role_name(block)}.md").write_text(block.text, encoding="utf-8")


@pytest.mark.sqlite("the pages read monitor.db")
@pytest.mark.parametrize("block", here("python", ""), ids=str)
def test_programs_run(block: Block, audited: Path) -> None:
    """Each by itself, in a folder with a database, with a scripted model by default."""
    assert (audited / "monitor.db").exists()
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("block", here("python", "recipe"), ids=str)
def test_recipes_end_well(block: Block, folder: Path) -> None:
    write_roles(block.page, folder)
    name = recipe_name(block)
    (folder / f"{name}.py").write_text(block.text, encoding="utf-8")
    result = monitor.run_sync(f"./{name}.py", "How far is the Moon?", model=ScriptedModel(fill), policies=[])
    assert (result.outcome, result.error) == ("ok", None)
    assert result.answer


@pytest.mark.parametrize("block", here("markdown", "role"), ids=str)
def test_roles_load(block: Block, folder: Path) -> None:
    write_roles(block.page, folder)
    assert load_role(folder / "roles" / f"{role_name(block)}.md").name == role_name(block)


@pytest.mark.parametrize("block", here("yaml", ""), ids=str)
def test_packs_load_and_pass_their_tests(block: Block, folder: Path) -> None:
    path = folder / "house.yaml"
    path.write_text(block.text, encoding="utf-8")
    results = policy.load([path]).run_tests()
    assert results
    assert [result.test for result in results if not result.passed] == []


@pytest.mark.sqlite("the pages ask monitor.db")
@pytest.mark.parametrize("block", blocks("sql"), ids=str)
def test_sql_answers(block: Block, audited: Path) -> None:
    """Asked of a real run by Python's own SQLite, as an auditor's shell would; it finds something."""
    with closing(sqlite3.connect(f"file:{audited}/monitor.db?mode=ro", uri=True)) as database:
        assert database.execute(block.text).fetchall() != []


@pytest.mark.parametrize("block", here("toml", ""), ids=str)
def test_models_in_the_settings_are_aliases(block: Block, folder: Path) -> None:
    """``tests/test_docs.py`` reads the settings; here the tables of their models are read, too."""
    (folder / "monitor.toml").write_text(block.text, encoding="utf-8")
    tables = Settings().models
    assert read_aliases(tables).keys() == tables.keys()


def test_the_recipe_of_the_readme_is_a_whole_one_in_15_lines(folder: Path) -> None:
    (block,) = blocks("python", "recipe", on=README)
    assert len(block.text.splitlines()) <= 15
    (folder / "sides.py").write_text(block.text, encoding="utf-8")
    result = monitor.run_sync("./sides.py", "Should the office move?")
    assert (result.answer, result.usage.calls) == ("So it is.", 3)


def test_there_are_blocks_of_every_kind() -> None:
    """A typing error in a block's first line would take it out of these tests unnoticed."""
    tried = {
        ("python", ""),
        ("python", "recipe"),
        ("markdown", "role"),
        ("yaml", ""),
        ("yaml", "detection"),
        ("yaml", "tests"),
        ("yaml", "site"),
        ("yaml", "probe"),  # tests/probes/training/test_page.py
        ("toml", ""),
        ("sql", ""),
        ("sh", ""),
        ("console", ""),
        ("json", ""),
        ("text", ""),
    }
    languages = {language for language, _ in tried}
    kinds = set()
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("```") and line != "```":
                language, _, part = line.removeprefix("```").partition(" ")
                kinds.add((language, part))
    assert kinds <= tried
    assert languages - {"json"} <= {language for language, _ in kinds}
