"""Erasing where it is easy to miss: escapes of others, ids of tool calls, and what is written while somebody decides."""

from __future__ import annotations

import json

import pytest

from monitor.audit.integrity.purging import plan_purge, purge
from monitor.audit.integrity.redaction import plan_redaction, redact
from monitor.audit.integrity.verify import verify
from monitor.errors import ConfigError, ConflictError
from monitor.policy.judges.fence import escaped
from monitor.records import Message, ToolCall
from monitor.store import Store
from monitor.store.erasing import Eraser
from tests.audit.integrity.test_redaction import OLD, erase, store_secret
from tests.store.databases import Database
from tests.store.events import judged, observed, run_ended, run_started, started

ADDRESS = "https://x.example/?a=<b>&né\u200b😀"


def units(text: str) -> str:
    """Every character as JSON's escape, in capitals."""
    data = text.encode("utf-16-be")
    return "".join(f"\\u{data[place : place + 2].hex().upper()}" for place in range(0, len(data), 2))


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(ADDRESS).replace("/", r"\/"),  # as PHP writes it
        json.dumps(ADDRESS).replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"),  # as Go does
        f'"{units(ADDRESS)}"',
        json.dumps(json.dumps({"to": ADDRESS}).replace("/", r"\/")),
        escaped(ADDRESS),  # as a judge is shown it
        escaped(json.dumps(ADDRESS).replace("/", r"\/")),
    ],
    ids=["php", "go", "units", "twice", "judge", "judge of php"],
)
def test_a_text_is_found_however_it_was_escaped(store_url: str, written: str) -> None:
    run = run_started()
    said, sent = started(run.run_id), started(run.run_id)
    calls = (ToolCall(id="1", name="send", arguments=f'{{"to": {written}}}'),)
    with Store.open(store_url) as store:
        store.append_sync(run, said, observed(said, output=ADDRESS), judged(said))
        store.append_sync(sent, observed(sent, output="sent", tool_calls=calls), judged(sent))
    plan, _ = erase(store_url, run_id=run.run_id, span_id=said.span_id, surfaces=["output"])
    assert [(use.span_id, use.path) for use in plan.containing] == [(sent.span_id, "tool_calls[0].arguments")]
    with Store.open(store_url) as store:
        assert [call.output for call in (subcall.observation for subcall in store.subcalls(run.run_id)) if call] == [
            "█" * len(ADDRESS),
            "sent",
        ]
    with Eraser.opened(store_url, busy_seconds=5) as eraser, pytest.raises(ConfigError, match="no such text"):
        plan_redaction(eraser, phrase=ADDRESS)


def test_other_texts_with_escapes_are_left_alone(store_url: str) -> None:
    run = run_started()
    call, other = started(run.run_id), started(run.run_id)
    with Store.open(store_url) as store:
        store.append_sync(run, call, observed(call, output=ADDRESS), judged(call))
        store.append_sync(other, observed(other, output=r'"\ud800 \u12 \\ &#xffffff; &amp &#0;"'), judged(other))
    plan, _ = erase(store_url, run_id=run.run_id, span_id=call.span_id, surfaces=["output"])
    assert plan.containing == []


def test_what_stands_in_the_id_of_a_tool_call_is_told_for_nothing_erases_it(store_url: str) -> None:
    run = run_started()
    asked, other = started(run.run_id), started(run.run_id)
    calls = (ToolCall(id="call for jane@x.example", name="send"),)
    answer = Message(role="tool", content="done", tool_call_id="call for jane@x.example")
    handed = started(run.run_id, messages=(Message(role="user", content="go"), answer))
    with Store.open(store_url) as store:
        store.append_sync(run, asked, observed(asked, tool_calls=calls), judged(asked))
        store.append_sync(handed, observed(handed), judged(handed))
    places = [(run.run_id, asked.span_id), (run.run_id, handed.span_id)]
    told = f"in no text, and in ids of tool calls of {run.run_id}/{asked.span_id}"
    with Eraser.opened(store_url, busy_seconds=5) as eraser, pytest.raises(ConfigError, match=told):
        plan_redaction(eraser, phrase="jane@x.example")
    with Store.open(store_url) as store:
        store.append_sync(other, observed(other, output="jane@x.example"), judged(other))
    with Eraser.opened(store_url, busy_seconds=5) as eraser:
        assert plan_redaction(eraser, phrase="jane@x.example").in_ids == places
        assert plan_redaction(eraser, run_id=run.run_id, span_id=other.span_id, surfaces=["output"]).in_ids == places
        assert plan_redaction(eraser, phrase="done").in_ids == []


def test_a_reason_that_quotes_the_phrase_is_refused(store_url: str) -> None:
    with Store.open(store_url) as store:
        run, _ = store_secret(store, secret="the door opens with 0451, and the window does not")
    with Eraser.opened(store_url, busy_seconds=5) as eraser:
        plan = plan_redaction(eraser, phrase="0451")
        with pytest.raises(ConfigError, match="quotes the text"):
            redact(eraser, plan, everywhere=True, why="the code 0451 leaked", by="ann")
    with Store.open(store_url) as store:
        assert store.redactions(run) == []


def test_a_text_that_is_used_again_while_somebody_decides_is_not_erased(store_url: str) -> None:
    with Store.open(store_url) as store:
        run, span = store_secret(store)
        with Eraser.opened(store_url, busy_seconds=5) as eraser:
            plan = plan_redaction(eraser, run_id=run, surfaces=["task"], span_id=span)
            late = run_started()
            call = started(late.run_id, task="another", messages=(Message(role="user", content="say it"),))
            store.append_sync(late, call)
            with pytest.raises(ConflictError, match=f"run {late.run_id} used one of these texts since"):
                redact(eraser, plan, everywhere=False, why="a test", by="ann")
            assert store.redactions(run) == []
            again = plan_redaction(eraser, run_id=run, surfaces=["task"], span_id=span)
            assert [use.path for use in again.shared] == ["messages"]
            store.append_sync(run_ended(late))  # what uses none of them is in nobody's way
            assert redact(eraser, again, everywhere=True, why="a test", by="ann").runs == sorted([run, late.run_id])
    assert verify(store_url).integrity.faults == []


def test_a_purge_leaves_what_is_used_again_while_it_goes_on(store_url: str) -> None:
    history = (Message(role="system", content="You are careful."),)
    runs = [run_started(task=f"old task {number}", at=OLD) for number in range(2)]
    with Store.open(store_url) as store:
        for run in runs:
            call = started(run.run_id, messages=history, at=OLD)
            store.append_sync(run, call, observed(call, output="forty-two", at=OLD), judged(call, at=OLD))
            store.append_sync(run_ended(run, at=OLD, answer="forty-two"))
        store.sequence()
        with Eraser.opened(store_url, busy_seconds=5) as eraser:
            plan = plan_purge(eraser, "2026-06-01T00:00:00.000000Z")
            late = run_started()
            store.append_sync(late, started(late.run_id, task="young", messages=history))
            done = purge(eraser, plan, why="old", by="ann")
        assert sorted(done.runs) == sorted(run.run_id for run in runs)
        assert {use.run_id for use in done.left} == {late.run_id}
    with Database(store_url) as database:
        bodies = {row[0] for row in database.rows("SELECT body FROM texts WHERE body IS NOT NULL")}
    assert bodies >= {"You are careful.", "young"}
    assert bodies.isdisjoint({"old task 0", "old task 1", "forty-two"})
    assert verify(store_url).integrity.faults == []
