"""The auditor's guide: every command is run, its questions are all that there are; the page of views is the schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import re2

from monitor.audit.saved import saved_queries
from monitor.cli import main
from monitor.store import Store
from monitor.store.asking import VIEWS
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.test_commands import commands
from tests.docs.test_tables import page, rows
from tests.store.databases import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = ROOT / "docs" / "auditing.md"


@pytest.mark.sqlite("the page's commands name no database")
@pytest.mark.parametrize("block", blocks("sh", on=PAGE), ids=str)
def test_every_command_is_run(block: Block, audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own,) = (one for one in blocks("text", on=PAGE) if one.text.startswith("-- description"))
    (audited / "slow.sql").write_text(own.text, encoding="utf-8")
    asked = list(commands(block))
    assert asked
    for words in asked:
        capsys.readouterr()
        assert main(words[1:]) == 0, words
        said = capsys.readouterr().out
        assert said or "--rebuild" in words or "--out" in words
        if "--json" in words:
            assert json.loads(said)["format"].startswith("monitor.")


def test_every_saved_question_is_in_the_guide() -> None:
    table = " ".join(row[1] for row in rows(page("docs/auditing.md"), "you want to know"))
    assert set(re2.findall(r"[a-z]+(?:-[a-z]+)+|retries", table)) == {
        name
        for name in saved_queries()
        if not name.startswith("report-")  # those that `monitor audit report` is made from
    }


def test_the_page_of_views_is_the_schema(new_database: Callable[[], str]) -> None:
    """The same views, columns and order on both databases, each column with a meaning."""
    address = new_database()
    Store.open(address).close()
    text = page("docs/views.md")
    with Database(address) as database:
        for view in VIEWS:
            columns, _ = database.table(f"SELECT * FROM {view} LIMIT 0")
            said = rows(text, f"column of `{view}`")
            assert tuple(row[0] for row in said) == columns, view
            assert all(len(row) == 2 and row[1] for row in said)
    assert re2.findall(r"(?m)^## `(\w+)`$", text) == list(VIEWS)
