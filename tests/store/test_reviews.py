"""Reviews in the log: in nobody's way, whoever writes them and whenever; and what the view makes of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from monitor.errors import CatalogError, ConflictError, StoreError
from monitor.records import Event, Finding, Label, Status
from monitor.store import Store
from monitor.store.copying import copy
from tests.store.databases import Database
from tests.store.events import (
    asking,
    decided,
    judged,
    observed,
    reviewed,
    run_ended,
    run_resumed,
    run_started,
    started,
    trio,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def judged_subcall(store: Store) -> tuple[Event, Event]:
    """A run, and a subcall of it that is judged."""
    run = run_started()
    call, *rest = trio(run.run_id)
    store.append_sync(run, call, *rest)
    return run, call


def test_a_review_is_stored_with_who_and_why_and_which_version_of_the_rule(store: Store) -> None:
    run, call = judged_subcall(store)
    event = reviewed(call, label=Label.FALSE, why="a quotation", by="ann")
    store.append_sync(event)
    (found,) = store.reviews()
    assert (found.id, found.run_id, found.review) == (event.span_id, run.run_id, event.payload)
    assert store.reviews(run.run_id) == [found]
    assert store.reviews("ab" * 16) == []
    assert [(item.kind, item.seq) for item in store.events(run.run_id)][-1] == ("reviewed", 0)


def test_a_review_changes_nothing_of_the_run_or_the_subcall(store: Store, db: str) -> None:
    """Neither while the run goes, nor after its end, nor when it is resumed with what was read before the review."""
    run, call = judged_subcall(store)
    other = started(run.run_id)
    store.append_sync(other)
    before, subcalls = store.run(run.run_id), store.subcalls(run.run_id)
    store.append_sync(reviewed(call))
    assert (store.run(run.run_id), store.subcalls(run.run_id)) == (before, subcalls)
    store.append_sync(observed(other), judged(other), run_ended(run))
    ended = store.run(run.run_id)
    assert (ended.state, ended.is_stopped, ended.last_seq) == ("ok", True, 1)
    store.append_sync(reviewed(call, by="bob"))
    assert store.run(run.run_id) == ended
    with Database(db) as database:
        assert database.rows("SELECT state, subcalls, resumes FROM runs") == [("ok", 2, 0)]
        assert database.rows("SELECT count(*) FROM subcalls") == [(2,)]
    resumed = Event.of(run.run_id, run.span_id, run_resumed(run).payload, after=ended.last_seq)
    store.append_sync(resumed)
    store.append_sync(reviewed(call, by="cy"))
    again = store.run(run.run_id)
    assert (again.state, again.last_seq, len(again.resumes)) == ("started", 2, 1)
    store.append_sync(run_ended(run))
    assert store.run(run.run_id).state == "ok"


def test_a_review_is_in_no_decisions_way(store: Store) -> None:
    run = run_started()
    call = started(run.run_id)
    store.append_sync(run, call, observed(call), asking(call), reviewed(call))
    assert [item.call.span_id for item in store.asked()] == [call.span_id]
    store.append_sync(decided(call))
    store.append_sync(reviewed(call, by="bob"))
    assert store.subcall(run.run_id, call.span_id).state == "ok"


def test_only_what_is_judged_is_reviewed(store: Store) -> None:
    run = run_started()
    call = started(run.run_id)
    store.append_sync(run, call, observed(call))
    with pytest.raises(StoreError, match="cannot be reviewed: it is not judged"):
        store.append_sync(reviewed(call))
    with pytest.raises(StoreError, match="cannot be reviewed"):
        store.append_sync(reviewed(started(run.run_id)))
    assert store.reviews() == []


def test_the_same_review_is_stored_once(store: Store) -> None:
    _, call = judged_subcall(store)
    event = reviewed(call)
    store.append_sync(event)
    with pytest.raises(ConflictError):
        store.append_sync(event)
    assert len(store.reviews()) == 1


def test_people_who_review_at_once_are_all_heard(store: Store, db: str) -> None:
    """Each through a connection of their own, all of the same finding."""
    _, call = judged_subcall(store)

    def review(name: str) -> None:
        with Store.open(db) as own:
            for number in range(10):
                own.append_sync(reviewed(call, by=name, why=str(number)))

    threads = [threading.Thread(target=review, args=(name,)) for name in ("ann", "bob", "cy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [item.review for item in store.reviews()]
    assert len(found) == 30
    for name in ("ann", "bob", "cy"):
        assert [review.why for review in found if review.by == name] == [str(number) for number in range(10)]


def test_the_view_says_what_counts_and_whether_people_agree(store: Store, db: str) -> None:
    _, call = judged_subcall(store)
    for by, label in (("ann", Label.TRUE), ("bob", Label.FALSE), ("cy", Label.UNSURE), ("ann", Label.FALSE)):
        store.append_sync(reviewed(call, by=by, label=label))
    store.append_sync(reviewed(call, rule_hash="h2", status=Status.NO_MATCH, recorded=False))
    store.sequence()
    columns = "reviewed_by, label, rule_hash, status, recorded, is_current, reviewers, consensus, role, recipe"
    with Database(db) as database:
        rows = database.rows(f"SELECT {columns} FROM reviews ORDER BY leaf_index")
    assert rows == [
        ("ann", "true", "h1", "match", 1, 0, 3, "false", "answer", "answer"),
        ("bob", "false", "h1", "match", 1, 1, 3, "false", "answer", "answer"),
        ("cy", "unsure", "h1", "match", 1, 1, 3, "false", "answer", "answer"),
        ("ann", "false", "h1", "match", 1, 1, 3, "false", "answer", "answer"),
        ("ann", "true", "h2", "no_match", 0, 1, 1, "true", "answer", "answer"),
    ]
    store.append_sync(reviewed(call, by="dee", label=Label.TRUE))
    with Database(db) as database:
        assert database.rows("SELECT DISTINCT consensus FROM reviews WHERE rule_hash = 'h1'") == [("disputed",)]


def test_a_reason_can_be_erased(store: Store, db: str) -> None:
    run, call = judged_subcall(store)
    store.append_sync(reviewed(call, why="names a customer"), reviewed(call, why="again", by="bob"))
    with Database(db) as database:
        database.execute("UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body = 'names a customer'")
        assert database.rows("SELECT why FROM reviews WHERE reviewed_by = 'ann'") == [("[redacted]",)]
    assert [item.review.why for item in store.reviews(run.run_id)] == ["█" * 16, "again"]


def test_one_person_whose_name_was_erased_is_one_person(store: Store, db: str) -> None:
    _, call = judged_subcall(store)
    store.append_sync(reviewed(call, label=Label.TRUE))
    store.append_sync(reviewed(call, label=Label.FALSE))
    with Database(db) as database:
        database.execute("UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body = 'ann'")
        assert database.rows("SELECT label FROM reviews WHERE is_current = 1") == [("false",)]


def test_two_people_whose_names_were_erased_are_two(store: Store, db: str) -> None:
    _, call = judged_subcall(store)
    store.append_sync(reviewed(call, label=Label.TRUE, by="ann"), reviewed(call, label=Label.FALSE, by="bob"))
    with Database(db) as database:
        database.execute("UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body IN ('ann', 'bob')")
        rows = database.rows("SELECT label, reviewed_by, consensus FROM reviews WHERE is_current = 1 ORDER BY label")
        assert rows == [("false", "[redacted]", "disputed"), ("true", "[redacted]", "disputed")]


def test_a_copy_carries_reviews(store: Store, new_database: Callable[[], str]) -> None:
    _, call = judged_subcall(store)
    store.append_sync(reviewed(call), reviewed(call, by="bob"))
    address = new_database()
    report = copy(store.url, address, progress=lambda *_: None)
    assert (report.is_equal, report.copied) == (True, 6)
    with Store.open(address) as other:
        assert other.reviews() == store.reviews()


def test_a_subcall_is_found_by_its_span_alone(store: Store) -> None:
    run, call = judged_subcall(store)
    assert store.find_subcall(call.span_id[:10]) == (run.run_id, call.span_id)
    with pytest.raises(CatalogError, match="no subcall"):
        store.find_subcall("0" * 16)
    other = run_started()
    store.append_sync(other, started(other.run_id, span_id=call.span_id))
    with pytest.raises(CatalogError, match="several subcalls"):
        store.find_subcall(call.span_id)


def test_the_view_of_findings_says_what_is_on_trial_and_what_is_suppressed(store: Store, db: str) -> None:
    run = run_started()
    call = started(run.run_id)
    plain = Finding(check="rule", name="r", status=Status.MATCH)
    found = (plain, plain.model_copy(update={"shadow": True}), plain.model_copy(update={"suppressed_by": "known"}))
    store.append_sync(run, call, observed(call), judged(call, findings=found))
    with Database(db) as database:
        rows = database.rows("SELECT shadow, suppressed_by FROM findings ORDER BY finding")
    assert rows == [(0, ""), (1, ""), (0, "known")]
