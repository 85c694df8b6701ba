"""``monitor audit redact`` and ``purge``: what is asked, what is refused, and what ``show`` says afterwards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.records import ToolCall
from monitor.store import Store
from tests.audit.integrity.test_redaction import OLD, SECRET, store_secret
from tests.store.events import judged, observed, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]


def fill(at: str = "2026-01-01T00:00:00.000000Z", secret: str = SECRET) -> tuple[str, str]:
    with Store.open(os.environ.get("MONITOR_DB", "monitor.db")) as store:
        return store_secret(store, at=at, secret=secret)


def test_what_else_holds_the_text_is_listed_and_asked_about(monitor: Monitor) -> None:
    run, span = fill()
    asked = ("audit", "redact", run[:8], span[:8], "--surface", "output", "--why", "a code", "--yes")
    refused = monitor(*asked, "--json")
    assert refused.code == 2
    assert refused.json["done"] is False
    assert {use["surface"] for use in refused.json["containing"]} == {"messages", "raw"}
    assert "--everywhere" in refused.err
    dry = monitor(*asked, "--everywhere", "--dry-run", "--json")
    assert (dry.code, dry.json["texts"], dry.json["done"]) == (0, 4, False)
    done = monitor(*asked, "--everywhere", "--json")
    assert (done.code, done.json["erased"], done.json["files_clean"]) == (0, 4, True)
    assert monitor(*asked, "--everywhere").code == 2  # it is gone


def test_what_is_left_is_not_said_to_be_gone(monitor: Monitor) -> None:
    run, span = fill()
    done = monitor("audit", "redact", run, span, "--surface", "output", "--why", "a code", "--only", "--yes")
    assert (done.code, "is left in the database's files, beside what was left as it is" in done.out) == (0, True)
    whole = monitor("audit", "redact", run, "--why", "a code", "--everywhere", "--yes").out
    assert ("nothing of them is left in the database's files\n" in whole, "beside" in whole) == (True, False)


def test_show_says_redacted(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run, span = fill()
    monitor("audit", "redact", run, "--why", "a code", "--by", "ann", "--everywhere", "--yes")
    shown = monitor("show", run)
    assert shown.code == 0
    assert "ZEBRA" not in shown.out
    assert "█" not in shown.out
    assert "by ann: a code" in shown.out
    one = monitor("show", run, "--subcall", span)
    assert (one.code, "[redacted]" in one.out, "█" in one.out) == (0, True, False)
    as_json = monitor("show", run, "--json").json
    assert as_json["start"]["task"] == as_json["end"]["answer"] == "[redacted]"
    assert as_json["redactions"][0]["redaction"]["by"] == "ann"
    assert monitor("list", "--json").json["runs"][0]["task"] == "[redacted]"
    assert monitor("show", run, "--subcall", span, "--json").json["observation"]["output"] == "[redacted]"


def test_nothing_is_erased_without_a_yes_a_reason_or_an_end(monitor: Monitor) -> None:
    run, span = fill()
    for wrong in (
        ("redact",),
        ("redact", run, "--containing", "x"),
        ("redact", run, "--everywhere", "--only", "--why", "x", "--yes"),
        ("redact", run, "--surface", "nothing", "--why", "x", "--yes"),
        ("redact", run, span, "--everywhere", "--yes"),
        ("redact", run, span, "--everywhere", "--why", "x"),
        ("redact", "--containing", "absent.txt", "--why", "x", "--yes"),
        ("purge", "--older-than", "yesterday"),
        ("purge", "--older-than", "1d"),
    ):
        assert monitor("audit", *wrong).code == 2, wrong
    with Store.open(os.environ.get("MONITOR_DB", "monitor.db")) as store:
        going = run_started(task="it still goes on")
        store.append_sync(going)
        assert store.redactions(run) == []
    refused = monitor("audit", "redact", going.run_id, "--why", "x", "--yes")
    assert (refused.code, "has not ended" in refused.err) == (2, True)
    assert monitor("audit", "redact", going.run_id, "--why", "x", "--yes", "--only", "--unfinished").code == 0


def test_a_phrase_from_a_file_is_erased_everywhere(monitor: Monitor) -> None:
    fill()
    Path("phrase.txt").write_text("7141-ZEBRA\n")
    done = monitor("audit", "redact", "--containing", "phrase.txt", "--why", "a code", "--yes", "--json")
    assert (done.code, done.json["erased"]) == (0, 4)
    assert monitor("audit", "verify", "--json").json["integrity"]["erased"] == 4
    assert monitor("audit", "redact", "--finish", "--json").json["files_clean"] is True


def test_what_an_id_keeps_is_said_and_is_no_success(monitor: Monitor, tmp_path: Path) -> None:
    phrase = tmp_path / "phrase.txt"
    phrase.write_text("7141-ZEBRA\n")
    run, _ = fill()
    call = started(run)
    with Store.open(os.environ.get("MONITOR_DB", "monitor.db")) as store:
        store.append_sync(call, observed(call, tool_calls=(ToolCall(id="id-7141-ZEBRA", name="f"),)), judged(call))
    asked = ("audit", "redact", "--containing", str(phrase), "--why", "a code")
    dry = monitor(*asked, "--dry-run")
    assert (
        dry.code,
        f"ids of tool calls too, which are part of the log, and nothing erases them: {run}" in dry.out,
    ) == (0, True)
    done = monitor(*asked, "--yes", "--json")
    assert (done.code, done.json["erased"], done.json["files_clean"]) == (6, 4, False)
    assert done.json["in_ids"] == [{"run_id": run, "span_id": call.span_id}]
    again = monitor(*asked, "--yes")
    assert (again.code, "it stands in no text" in again.err) == (2, True)


def test_old_runs_are_purged(monitor: Monitor) -> None:
    old, _ = fill(at=OLD, secret="an old secret, 1984")
    young, _ = fill(at="2999-01-01T00:00:00.000000Z")
    dry = monitor("audit", "purge", "--older-than", "90d", "--dry-run", "--json")
    assert (dry.code, dry.json["runs"], dry.json["done"]) == (0, [old], False)
    assert old in monitor("audit", "purge", "--older-than", "90d", "--dry-run").out
    done = monitor("audit", "purge", "--older-than", "90d", "--yes", "--json")
    assert (done.code, done.json["in_runs"], done.json["files_clean"]) == (0, [old], True)
    assert done.json["erased"] == dry.json["texts"] > 3
    again = monitor("audit", "purge", "--older-than", "90d", "--yes", "--json")
    assert (again.code, again.json["runs"], again.json["purged_before"]) == (0, [], 1)
    assert "redact --finish" in monitor("audit", "purge", "--older-than", "90d", "--yes").out
    assert "1984" not in monitor("show", old).out
    assert monitor("show", young, "--json").json["end"]["answer"] == "done"
