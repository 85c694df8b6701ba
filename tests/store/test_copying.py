"""Copies between every two databases: byte for byte, in the same order, again where needed, and nothing on top."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.errors import ConfigError, ConflictError, StoreFormatError, StoreUnavailableError
from monitor.records import Message, ToolCall
from monitor.store import Store, batches, copying
from tests.store.databases import Database
from tests.store.events import asking, decided, observed, run_ended, run_resumed, run_started, started, trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.records import Event
    from monitor.store.copying import CopyReport
    from tests.servers import Server

HOSTILE = ["a\0b", "\ud800", "\\.\n\t\\", "x" * 100_000, "שלום \u202e", "'; --"]
TABLES = {
    "texts": "SELECT commitment, sha256, salt, body FROM texts ORDER BY commitment",
    "message_nodes": "SELECT node_hash, parent_hash, payload FROM message_nodes ORDER BY node_hash",
    "events": "SELECT run_id, span_id, seq, kind, at, canonical, leaf_hash FROM events ORDER BY run_id, span_id, seq",
    "leaves": "SELECT leaf_index, run_id, span_id, seq, leaf_hash FROM leaves ORDER BY leaf_index",
}


@pytest.fixture
def make(server: Server, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Make the address of a new store: of a ``file``, or on the ``server``."""
    from contextlib import ExitStack

    numbers = itertools.count()
    with ExitStack() as databases:
        yield (
            lambda where: (
                str(tmp_path / f"{next(numbers)}.db")
                if where == "file"
                else server.url(databases.enter_context(server.database()))
            )
        )


def fill(address: str, *, runs: int = 3) -> list[Event]:
    """A store with runs of every kind of event, texts in common, growing histories; returns the starts of the runs."""
    starts = []
    with Store.open(address) as store:
        for number in range(runs):
            run = run_started(task=f"task {number}")
            starts.append(run)
            history = [Message(role="system", content="You are careful.")]
            store.append_sync(run)
            for text in HOSTILE:
                history.append(Message(role="user", content=text, tool_calls=(ToolCall(id="1", name="t"),)))
                call = started(run.run_id, task=text, messages=tuple(history))
                store.append_sync(call, observed(call, output=text), asking(call), decided(call, why=text))
            store.append_sync(run_ended(run), run_resumed(run))
            store.append_sync(started(run.run_id, task="never observed"))
        store.sequence()
    return starts


def content(address: str) -> dict[str, list[tuple[object, ...]]]:
    with Database(address) as database:
        return {table: [tuple(map(plain, row)) for row in database.rows(query)] for table, query in TABLES.items()}


def plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


def copy(source: str, target: str) -> CopyReport:
    steps: list[tuple[str, int, int]] = []
    report = copying.copy(source, target, progress=lambda *step: steps.append(step), busy_seconds=10)
    assert [step for step, done, total in steps if done > total] == []
    assert {"copy", "verify"} == {step for step, _, _ in steps} or not report.events
    return report


@pytest.mark.parametrize(("source", "target"), list(itertools.product(["file", "server"], repeat=2)))
def test_a_copy_is_the_same_byte_for_byte(make: Callable[[str], str], source: str, target: str) -> None:
    origin, goal = make(source), make(target)
    fill(origin)
    report = copy(origin, goal)
    assert report.is_equal, report.differences
    assert (report.copied, report.present, report.erased) == (report.events, 0, 0)
    assert report.events == 3 * (4 * len(HOSTILE) + 4)
    assert content(goal) == content(origin)
    leaves = hashlib.sha256(b"".join(bytes.fromhex(str(row[-1])) for row in content(origin)["leaves"]))
    assert report.source_digest == leaves.hexdigest()
    with Store.open(origin) as one, Store.open(goal) as other:
        assert repr(one.runs()) == repr(other.runs())
        assert repr(one.asked(settled=True)) == repr(other.asked(settled=True))
    again = copy(origin, goal)
    assert (again.is_equal, again.copied, again.present) == (True, 0, report.events)


def test_there_and_back(make: Callable[[str], str]) -> None:
    """A file, a server, a file: the last is the first, and can be written on."""
    first, server, last = make("file"), make("server"), make("file")
    (run, *_) = fill(first)
    assert copy(first, server).is_equal
    assert copy(server, last).is_equal
    assert content(last) == content(first)
    with Store.open(last) as store:
        store.append_sync(*trio(run.run_id, "later"))
    assert copy(last, server).copied == 3


@pytest.mark.parametrize("target", ["file", "server"])
def test_several_files_are_copied_into_one_store(make: Callable[[str], str], target: str) -> None:
    """Each has its own commitments to the texts that they have in common; both are kept, and both can be read."""
    one, other, team = make("file"), make("file"), make(target)
    starts = fill(one) + fill(other)
    assert copy(one, team).is_equal
    with Store.open(team) as store:
        store.append_sync(run_started(task=HOSTILE[0]))
    assert copy(other, team).is_equal
    assert copy(one, team).copied == 0
    with Store.open(team) as store:
        assert len(store.runs()) == 7
        for run in starts:
            tasks = [subcall.call.task for subcall in store.subcalls(run.run_id)]
            assert tasks == [*(str(started(run.run_id, task=text).payload.task) for text in HOSTILE), "never observed"]  # type: ignore[union-attr]  # it is a Call
        call = started(starts[0].run_id, task=HOSTILE[3])
        store.append_sync(call)
        assert store.subcall(call.run_id, call.span_id).call == call.payload


@pytest.mark.parametrize("target", ["file", "server"])
def test_a_copy_that_was_interrupted_is_made_again(
    make: Callable[[str], str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "EVENTS_AT_ONCE", 7)
    origin, goal = make("file"), make(target)
    fill(origin)

    class Interrupted(BaseException):
        """Ctrl-C, say."""

    def interrupt(step: str, done: int, total: int) -> None:
        if step == "copy" and done > total / 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        copying.copy(origin, goal, progress=interrupt)
    report = copy(origin, goal)
    assert report.is_equal
    assert report.copied > 7
    assert report.present > 7
    assert content(goal) == content(origin)


@pytest.mark.parametrize(("source", "target"), [("file", "server"), ("server", "file")])
def test_erased_texts_stay_erased(make: Callable[[str], str], source: str, target: str) -> None:
    origin, goal = make(source), make(target)
    run, *_ = fill(origin)
    erase = "UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body = '{}'"
    with Database(origin) as database:
        database.execute(erase.format("task 0"))
    report = copy(origin, goal)
    assert (report.is_equal, report.erased) == (True, 1)
    with Database(goal) as database:
        database.execute(erase.format("task 1"))
    report = copy(origin, goal)
    assert (report.is_equal, report.erased) == (True, 2)
    with Store.open(goal) as store:
        assert store.run(run.run_id).start.task == "██████"
    with Database(origin) as database:
        database.execute(erase.format("task 2"))
    report = copy(origin, goal)
    assert (report.is_equal, report.different) == (False, 1)
    assert "erased in the source and not in the target" in report.differences[0]


@pytest.mark.parametrize("target", ["file", "server"])
def test_an_event_that_differs_ends_the_copy(make: Callable[[str], str], target: str) -> None:
    """The run went on in both places: what was copied before stays, and nothing is written after it was found."""
    origin, goal = make("file"), make(target)
    run = run_started()
    with Store.open(origin) as store:
        store.append_sync(run)
    assert copy(origin, goal).is_equal
    for address in (origin, goal):
        with Store.open(address) as store:
            store.append_sync(run_ended(run, answer=address))
    with Store.open(origin) as store:
        store.append_sync(run_started())
    before = content(goal)
    with pytest.raises(ConflictError, match="is another one"):
        copy(origin, goal)
    assert content(goal)["events"] == before["events"]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("events", "canonical = replace(canonical, 'started', 'stopped') WHERE kind = 'started'"),
        ("events", "at = 'then'"),
        ("events", "leaf_hash = '00'"),
        ("message_nodes", "payload = replace(payload, 'user', 'tool')"),
        ("texts", "body = 'forged' WHERE body = 'task 0'"),
        ("texts", "sha256 = '00' WHERE body = 'task 0'"),
    ],
)
@pytest.mark.parametrize("source", ["file", "server"])
def test_a_source_that_was_tampered_with_is_not_copied(
    make: Callable[[str], str], source: str, table: str, change: str
) -> None:
    origin, goal = make(source), make("file")
    fill(origin, runs=1)
    with Database(origin) as database:
        database.lift_triggers(table)
        database.execute(f"UPDATE {table} SET {change}")
    with pytest.raises(StoreFormatError, match="damaged"):
        copy(origin, goal)


@pytest.mark.parametrize("table", ["events", "texts", "message_nodes"])
@pytest.mark.parametrize("target", ["file", "server"])
def test_a_difference_in_the_target_is_found(make: Callable[[str], str], target: str, table: str) -> None:
    """What is in the target by another hand is found by its hash, also where the row says that it is equal."""
    origin, goal = make("file"), make(target)
    fill(origin, runs=1)
    assert copy(origin, goal).is_equal
    change = {
        "events": "canonical = replace(canonical, 'never', 'always')",
        "texts": "body = 'forged' WHERE body = 'task 0'",
        "message_nodes": "payload = replace(payload, 'user', 'tool')",
    }[table]
    if table == "events":
        change = 'canonical = replace(canonical, \'"role":"answer"\', \'"role":"forged"\')'
    with Database(goal) as database:
        database.lift_triggers(table)
        database.execute(f"UPDATE {table} SET {change}")
    if table == "texts":
        with pytest.raises(ConflictError, match="is another one"):
            copy(origin, goal)
        return
    report = copy(origin, goal)
    assert not report.is_equal
    assert report.different > 0


def test_what_cannot_be_copied_is_said(make: Callable[[str], str], tmp_path: Path) -> None:
    origin = make("file")
    fill(origin, runs=1)
    with pytest.raises(ConfigError, match="the same twice"):
        copy(origin, f"sqlite:///{origin}")
    for place, link in (("symbolic.db", Path.symlink_to), ("hard.db", Path.hardlink_to)):
        link(tmp_path / place, Path(origin))
        with pytest.raises(ConfigError, match="the same twice"):
            copy(origin, str(tmp_path / place))
    with pytest.raises(StoreUnavailableError, match="no store here yet"):
        copy(str(tmp_path / "nowhere.db"), make("file"))
    assert not (tmp_path / "nowhere.db").exists()


def test_an_empty_store_can_be_copied(make: Callable[[str], str]) -> None:
    origin, goal = make("server"), make("file")
    Store.open(origin).close()
    report = copy(origin, goal)
    assert (report.is_equal, report.events) == (True, 0)


def test_a_store_that_is_written_meanwhile(make: Callable[[str], str]) -> None:
    """What is appended to the source while it is copied may be copied or not; the copy is equal either way."""
    origin, goal = make("server"), make("file")
    run, *_ = fill(origin)
    with Store.open(origin) as store:

        def append(*_: Any) -> None:
            store.append_sync(*trio(run.run_id))

        report = copying.copy(origin, goal, progress=append)
    assert report.different == 0
    assert copy(origin, goal).is_equal
