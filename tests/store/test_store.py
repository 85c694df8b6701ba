"""What is appended, in which order, and how it comes back."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from monitor.errors import CatalogError, ConfigError, ConflictError, StoreError
from monitor.records import Event, Message, Outcome, Reasoning, ReasoningState, Usage, new_run_id, new_span_id
from monitor.store import Store
from monitor.store.location import parse_url
from tests.store.databases import Database
from tests.store.events import judged, observed, run_ended, run_resumed, run_started, started, trio

if TYPE_CHECKING:
    from pathlib import Path


def rows(db: str, query: str) -> list[tuple[object, ...]]:
    """What anybody with a SQL shell sees."""
    with Database(db) as database:
        return database.rows(query)


def test_a_subcall_comes_back_as_far_as_it_got(store: Store) -> None:
    run = run_started()
    first, second, third = started(run.run_id), started(run.run_id), started(run.run_id)
    seen, verdict = observed(second, usage=Usage(calls=1, output_tokens=7)), judged(second, outcome=Outcome.BLOCKED)
    store.append_sync(run, first, second, third, seen, observed(third), verdict)

    stored = store.subcalls(run.run_id)
    assert [subcall.state for subcall in stored] == ["started", "blocked", "observed"]
    assert [subcall.call for subcall in stored] == [first.payload, second.payload, third.payload]
    assert stored[1].observation == seen.payload
    assert stored[1].judgement == verdict.payload
    assert stored[1] == store.subcall(run.run_id, second.span_id) == store.subcall(run.run_id, second.span_id[:9])
    assert stored[1].charged.output_tokens == 7


def test_a_run_can_end_be_resumed_and_end_again(store: Store) -> None:
    run = run_started(task="why?")
    store.append_sync(run)
    assert store.run(run.run_id).state == "started"
    store.append_sync(run_ended(run, outcome=Outcome.CANCELLED))
    assert store.run(run.run_id).state == "cancelled"
    store.append_sync(run_resumed(run))
    assert store.run(run.run_id).state == "started"
    end = run_ended(run)
    store.append_sync(end)

    stored = store.run(run.run_id)
    assert stored.state == "ok"
    assert stored.start == run.payload
    assert stored.end == end.payload
    assert len(stored.resumes) == 1
    assert [event.seq for event in store.events(run.run_id)] == [0, 1, 2, 3]


def test_runs_are_listed_newest_first(store: Store) -> None:
    starts = [run_started() for _ in range(5)]
    for start in starts:
        store.append_sync(start)
    newest_first = [start.run_id for start in reversed(starts)]
    assert [run.start.run_id for run in store.runs()] == newest_first
    assert [run.start.run_id for run in store.runs(limit=2)] == newest_first[:2]


def test_events_are_leaves_as_rfc_9162_hashes_them(store: Store) -> None:
    run = run_started()
    store.append_sync(run, *trio(run.run_id))
    store.sequence()
    assert store.pending_leaves() == 0
    events = store.events(run.run_id)
    assert [(event.leaf_index, event.kind, event.seq) for event in events] == [
        (0, "run_started", 0),
        (1, "started", 0),
        (2, "observed", 1),
        (3, "judged", 2),
    ]
    for event in events:
        assert event.leaf_hash == hashlib.sha256(b"\0" + event.canonical).hexdigest()
        envelope = json.loads(event.canonical)
        assert (envelope["v"], envelope["run_id"], envelope["at"]) == (1, run.run_id, event.at)
        assert event.at.endswith("Z")


@pytest.mark.parametrize("again", [0, 1, 2])
def test_a_step_that_was_taken_is_a_conflict(store: Store, again: int) -> None:
    """Two processes that judge the same subcall: one wins, the other is told, and nothing of its append is written."""
    run = run_started()
    steps = trio(run.run_id)
    other = started(run.run_id)
    store.append_sync(run, *steps)
    with pytest.raises(ConflictError, match="already"):
        store.append_sync(other, steps[again])
    assert len(store.events(run.run_id)) == 4
    with pytest.raises(ConflictError, match="already"):
        store.append_sync(run)


def test_two_stores_that_take_turns_keep_one_log(store: Store, db: str) -> None:
    """What one of them remembers of the log is looked up again once the other has written."""
    run = run_started()
    first, second = started(run.run_id), started(run.run_id)
    with Store.open(db) as other:
        store.append_sync(run, first)
        other.append_sync(second)
        other.append_sync(observed(first))
        with pytest.raises(ConflictError):
            store.append_sync(observed(first))
        store.append_sync(judged(first))
        with pytest.raises(StoreError, match="it is not observed yet"):
            other.append_sync(judged(second))
        other.append_sync(observed(second), judged(second))
        store.append_sync(run_ended(run))
    store.sequence()
    leaves = rows(db, "SELECT leaf_index FROM leaves ORDER BY leaf_index")
    assert leaves == [(index,) for index in range(8)]
    assert [subcall.state for subcall in store.subcalls(run.run_id)] == ["ok", "ok"]


def test_what_was_rolled_back_is_not_remembered(store: Store) -> None:
    """After a transaction that failed as a whole, its steps are no predecessors and its places are free."""
    run = run_started()
    call = started(run.run_id)
    store.append_sync(run)
    with pytest.raises(StoreError):
        store.append_sync(call, observed(call), started(new_run_id()))
    with pytest.raises(StoreError, match="it is not started yet"):
        store.append_sync(observed(call))
    store.append_sync(call, observed(call))
    store.sequence()
    assert [event.leaf_index for event in store.events(run.run_id)] == [0, 1, 2]


def test_steps_only_follow_their_predecessors(store: Store) -> None:
    run = run_started()
    call = started(run.run_id)
    stranger = new_run_id()
    store.append_sync(run)
    for event, problem in (
        (started(stranger), "run_started event must come first"),
        (observed(call), "not started yet"),
        (judged(call), "not observed yet"),
        (Event.of(run.run_id, new_span_id(), run_ended(run).payload), "did not start as span"),
        (Event.of(stranger, run.span_id, run_ended(run).payload), "did not start as span"),
        (observed(run), "not started yet"),
        (Event.of("r1", run.span_id, call.payload), "32 hex digits"),
        (Event.of(run.run_id, "span", call.payload), "16 hex digits"),
        (Event.of(run.run_id, new_span_id(), call.payload), "another run or span"),
        (Event.model_construct(**dict(observed(call)) | {"kind": "judged"}), "cannot carry"),
    ):
        with pytest.raises(StoreError, match=problem):
            store.append_sync(event)
    store.append_sync(call)
    with pytest.raises(StoreError, match="not observed yet"):
        store.append_sync(judged(call))
    assert len(store.events(run.run_id)) == 2


def test_unescaped_text_is_refused(store: Store) -> None:
    """Records escape; what was made around them is refused before it is hashed."""
    run = run_started()
    store.append_sync(run)
    for text, problem in (("\ud800", "surrogate"), ("a\0b", "NUL")):
        call = started(run.run_id)
        bare = call.payload.model_copy(update={"task": text})
        with pytest.raises(StoreError, match=problem):
            store.append_sync(Event.of(call.run_id, call.span_id, bare))


@pytest.mark.parametrize(
    "text",
    ["x" * 10_000_000, "\u202eright to left\u202c שלום", "e\u0301" * 50, "\0\ud800␛", "🏳️‍🌈", "\r\n\u2028'\"\\", ""],
    ids=["10MB", "bidi", "combining", "hostile", "zwj", "quotes", "empty"],
)
def test_any_text_comes_back_as_it_was(db: str, text: str) -> None:
    run = run_started()
    call = started(run.run_id, task=text)
    reasoning = Reasoning(state=ReasoningState.PLAIN, text=text)
    seen = observed(call, output=text, reasoning=reasoning, usage=Usage(input_tokens=2**63), seconds=float("inf"))
    with Store.open(db) as store:  # with as long as it takes: a server may be busy with the text before
        asyncio.run(_append_each(store, run, call, seen))
        stored = store.subcall(run.run_id, call.span_id)
    assert stored.call == call.payload
    assert stored.observation == seen.payload


async def _append_each(store: Store, *events: Event) -> None:
    for event in events:
        await store.append(event)


def test_the_same_text_is_stored_once(store: Store, db: str) -> None:
    """By this process, which remembers it, and by another, which does not."""
    run = run_started(task="the same")
    store.append_sync(run, *trio(run.run_id, "the same"))
    with Store.open(db) as other:
        other.append_sync(*trio(run.run_id, "the same"))
    store.append_sync(*trio(run.run_id, "the same"))
    assert rows(db, "SELECT body FROM texts") == [("the same",)]


def test_a_text_erased_by_another_process_is_committed_to_anew(store: Store, db: str) -> None:
    """What the writer remembers of stored texts is dropped when somebody else has written."""
    run = run_started(task="secret")
    store.append_sync(run)
    with Database(db) as database:
        database.execute("UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL")
    call = started(run.run_id, task="secret")
    store.append_sync(call)
    assert store.subcall(run.run_id, call.span_id).call.task == "secret"
    assert store.run(run.run_id).start.task == "█" * len("secret")


def test_a_growing_history_takes_linear_space(store: Store, db: str) -> None:
    """300 steps of an agent whose prompt holds all steps before: every message is stored once."""
    run = run_started()
    history: list[Message] = [Message(role="system", content="You are careful. " * 20)]
    events = [run]
    for step in range(300):
        history.append(Message(role="user", content=f"step {step} " + "tell me more " * 15))
        events.append(started(run.run_id, messages=tuple(history)))
    store.append_sync(*events)

    assert rows(db, "SELECT count(*) FROM message_nodes") == [(301,)]
    assert rows(
        db, "SELECT max(n) - min(n) FROM (SELECT length(canonical) AS n FROM events WHERE kind = 'started') AS x"
    ) < [(9,)]
    stored = store.subcalls(run.run_id)
    assert [len(subcall.call.messages) for subcall in stored] == list(range(2, 302))
    assert stored[-1].call == events[-1].payload
    stored_bytes = sum(
        int(str(rows(db, f"SELECT sum(length({column})) FROM {table}")[0][0]))
        for table, column in (("events", "canonical"), ("texts", "body"), ("message_nodes", "payload"))
    )
    written_out = sum(len(m.content) for subcall in stored for m in subcall.call.messages)
    assert stored_bytes < written_out / 15


def test_the_views_show_people_the_current_state(store: Store, db: str) -> None:
    run = run_started(task="why?")
    call = started(run.run_id, task="part", role="planner", depth=2)
    store.append_sync(run, call, observed(call, output="so", usage=Usage(output_tokens=3)), judged(call))
    assert rows(db, "SELECT state, task, answer, subcalls FROM runs") == [("started", "why?", None, 1)]
    store.append_sync(run_ended(run, answer="because"))
    assert rows(db, "SELECT state, verdict, answer, resumes FROM runs") == [("ok", "pass", "because", 0)]
    shown = rows(db, "SELECT state, verdict, role, depth, task, output, output_tokens FROM subcalls")
    assert shown == [("ok", "pass", "planner", 2, "part", "so", 3)]
    store.sequence()
    assert rows(db, "SELECT leaf_index FROM leaves ORDER BY 1") == [(0,), (1,), (2,), (3,), (4,)]
    assert rows(db, "SELECT count(*) FROM findings") == [(0,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET at = ''",
        "DELETE FROM events",
        "DELETE FROM texts",
        "UPDATE texts SET body = 'forged'",
        "UPDATE texts SET body = NULL",
        "DELETE FROM message_nodes",
        "UPDATE message_nodes SET payload = ''",
    ],
)
def test_the_database_itself_refuses_to_change_a_row(store: Store, db: str, statement: str) -> None:
    run = run_started()
    store.append_sync(run, started(run.run_id, messages=(Message(role="user", content="hello"),)))
    with Database(db) as database, pytest.raises(database.refusal, match=r"append-only|erased whole"):
        database.execute(statement)


def test_a_prefix_must_name_one_run(store: Store) -> None:
    for run_id in ("abcd" + "0" * 28, "abcd" + "1" * 28, "abce" + "0" * 28):
        store.append_sync(run_started(run_id))
    assert store.run("abce").start.run_id == "abce" + "0" * 28
    assert store.run("ABCD1").start.run_id == "abcd" + "1" * 28
    for given, problem in (("abcd", "several runs"), ("abc", "at least"), ("ffff", "no run"), ("%%%%", "hex digits")):
        with pytest.raises(CatalogError, match=problem):
            store.run(given)
    with pytest.raises(CatalogError, match="no run"):
        store.subcalls(new_run_id())
    with pytest.raises(CatalogError, match="no run"):
        store.events(new_run_id())
    with pytest.raises(CatalogError, match="no subcall"):
        store.subcall("abce" + "0" * 28, "ffff")


@pytest.mark.sqlite("paths and URLs of files")
def test_urls(tmp_path: Path) -> None:
    assert parse_url(f"sqlite:///{tmp_path}/a.db") == tmp_path / "a.db"
    assert parse_url(str(tmp_path / "50% #1?.db")) == tmp_path / "50% #1?.db"
    assert parse_url("sqlite:///a.db").name == parse_url("a.db").name
    for url in ("mysql://host/db", "sqlite://", "sqlite:///:memory:", ""):
        with pytest.raises(ConfigError):
            parse_url(url)
    with Store.open(str(tmp_path / "deep" / "50% #1?.db")) as store:
        store.append_sync(run_started())
    assert (tmp_path / "deep" / "50% #1?.db").exists()
    with Store.open(store.url, create=False) as again:
        assert len(again.runs()) == 1
        assert again.path == store.path
