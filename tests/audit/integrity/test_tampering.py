"""Two hundred random edits of a file: each one that changes a record is found; one that is not found changed none."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.audit.integrity.checkpoints import make
from monitor.audit.integrity.redaction import plan_redaction, redact
from monitor.audit.integrity.verify import verify
from monitor.errors import StoreFormatError
from monitor.store import Store
from monitor.store.erasing import Eraser
from monitor.store.ledger import leaf_hash_of
from monitor.store.sqlite import driver
from tests.audit.integrity import tampering
from tests.audit.integrity.conftest import fill
from tests.store.events import judged, observed, released, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.audit.integrity.notes import Signer
    from monitor.audit.integrity.verify import Verification

pytestmark = pytest.mark.sqlite("edits of its file")

BY_SQL, OF_BYTES, OF_THE_LOG = 110, 70, 20


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> tuple[Path, Path, str, Any]:
    """A file, the same with all in its write-ahead log, the checkpoint kept elsewhere, and all of its records."""
    folder = tmp_path_factory.mktemp("tampering")
    live, logged, plain = folder / "live.db", folder / "logged.db", folder / "plain.db"
    Store.open(str(live)).close()
    holder = driver().connect(str(live), isolation_level=None)
    holder.execute("BEGIN")
    holder.execute("SELECT count(*) FROM events").fetchone()  # a reader: nothing goes from the log into the file
    with Store.open(str(live)) as store:
        runs = fill(store, runs=2)
        make(store, signer)
    with Eraser.opened(str(live), busy_seconds=1) as eraser:
        span = Store.open(str(live)).subcalls(runs[0])[0].call.span_id
        plan = plan_redaction(eraser, run_id=runs[0], span_id=span, surfaces=["reasoning"])
        redact(eraser, plan, everywhere=True, why="asked for", by="ann")
    with Store.open(str(live)) as store:
        note = make(store, signer).note
    tampering.copied(live, logged)
    holder.close()
    Store.open(str(live)).close()  # the last to close moves the log into the file
    tampering.copied(live, plain)
    found = tampering.records(plain)
    assert not isinstance(found, str)
    assert tampering.records(logged) == found
    assert logged.with_name("logged.db-wal").stat().st_size > 50_000
    return plain, logged, note, found


def check(path: Path, signer: Signer, note: str) -> Verification:
    return verify(str(path), verifier=signer.verifier, outside=note)


def test_the_base_is_whole(base: tuple[Path, Path, str, Any], signer: Signer) -> None:
    for path in base[:2]:
        found = check(path, signer, base[2])
        assert found.integrity.faults == []
        assert found.integrity.covered == found.integrity.outside == found.integrity.leaves
        assert found.integrity.erased > 0


def test_no_edit_that_changes_a_record_is_missed(
    base: tuple[Path, Path, str, Any], signer: Signer, tmp_path: Path
) -> None:
    plain, logged, note, unchanged = base
    counts: Counter[str] = Counter()
    missed: list[str] = []
    for number in range(BY_SQL + OF_BYTES + OF_THE_LOG):
        chance = random.Random(number)
        path = tmp_path / f"{number}.db"
        work: Callable[..., None]
        if number < BY_SQL:
            work = tampering.BY_SQL[number % len(tampering.BY_SQL)]
            editor = tampering.Editor(tampering.copied(plain, path), chance)
            work(editor)
            editor.close()
        elif number < BY_SQL + OF_BYTES:
            work = tampering.OF_BYTES[number % len(tampering.OF_BYTES)]
            work(tampering.copied(plain, path), chance)
        else:
            work = tampering.OF_THE_LOG[number % len(tampering.OF_THE_LOG)]
            work(tampering.copied(logged, path), chance)
        is_changed = tampering.records(path) != unchanged
        is_found = not check(path, signer, note).integrity.is_whole
        counts[f"{'changed' if is_changed else 'unchanged'}, {'found' if is_found else 'not found'}"] += 1
        if is_changed and not is_found:
            missed.append(f"{number}: {work.__name__}")
        for file in tmp_path.glob("*.db*"):
            file.unlink()
    assert missed == []
    assert sum(counts.values()) == 200
    assert counts["changed, found"] >= 150, counts


def edited(source: Path, target: Path, work: Callable[[tampering.Editor], None], seed: int = 0) -> str:
    editor = tampering.Editor(tampering.copied(source, target), random.Random(seed))
    work(editor)
    editor.close()
    return str(target)


def test_a_clean_cut_is_seen_with_a_checkpoint_kept_elsewhere_and_not_without(signer: Signer, tmp_path: Path) -> None:
    """What is left is a whole store that once was: only what is kept elsewhere can tell, and the answer says so."""
    with Store.open(str(tmp_path / "store.db")) as store:
        fill(store, runs=1)
        note = make(store, signer).note
    path = edited(tmp_path / "store.db", tmp_path / "cut.db", lambda edit: tampering.cut_after(edit, 12))
    alone = verify(path, verifier=signer.verifier)
    assert alone.integrity.faults == []
    assert any("a tail that was cut off" in limit and "cannot be detected" in limit for limit in alone.integrity.limits)
    fault, missing = verify(path, verifier=signer.verifier, outside=note).integrity.faults
    assert missing.problem.startswith("the checkpoint kept elsewhere, over 20 leaves, is not among those in the store")
    assert fault.row.startswith("leaves 13 to ")
    assert fault.problem.endswith("and there are 13: the end of the log was cut off")


def test_a_stored_checkpoint_that_was_deleted_is_told_of_without_a_key_as_well(signer: Signer, tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "store.db")) as store:
        fill(store, runs=1)
        note = make(store, signer).note
    whole = verify(str(tmp_path / "store.db"), outside=note)
    path = edited(tmp_path / "store.db", tmp_path / "less.db", lambda edit: edit.sql.execute("DELETE FROM checkpoints"))
    less = verify(path, outside=note)
    told = "the checkpoint kept elsewhere, over 20 leaves, is not among those in the store"
    assert not any(limit.startswith(told) for limit in whole.integrity.limits)
    assert any(limit.startswith(told) for limit in less.integrity.limits)


def test_what_was_appended_behind_every_checkpoint_is_said_to_be_covered_by_none(
    base: tuple[Path, Path, str, Any], signer: Signer, tmp_path: Path
) -> None:
    """Whoever may append can append: such an event is as good as any other, and under no signature yet."""

    def work(edit: tampering.Editor) -> None:
        leaf, run, span, seq, kind, at, canonical, _ = edit.sql.execute(
            "SELECT * FROM events WHERE kind = 'started' LIMIT 1"
        ).fetchone()
        del leaf
        (size,) = edit.sql.execute("SELECT max(leaf_index) + 1 FROM events").fetchone()
        tampering.append_event(edit, (size, run, span, seq, kind, at, canonical))

    found = verify(edited(base[0], tmp_path / "more.db", work), verifier=signer.verifier, outside=base[2])
    assert found.integrity.faults == []
    assert found.integrity.covered == found.integrity.outside == found.integrity.leaves - 1
    assert any(limit.startswith("1 events came after the checkpoint") for limit in found.integrity.limits)
    assert any(limit.startswith("1 of ") for limit in found.integrity.limits)
    assert "unfinished subcall" in {gap.what for gap in found.gaps}


def test_a_text_that_was_put_in_the_place_of_another_is_named_with_its_subcalls(
    base: tuple[Path, Path, str, Any], signer: Signer, tmp_path: Path
) -> None:
    with Store.open(str(base[0])) as store:
        run = store.runs()[-1]
        (subcall,) = [one for one in store.subcalls(run.start.run_id) if one.call.task == "question 0.1"]

    def work(edit: tampering.Editor) -> None:
        edit.sql.execute("UPDATE texts SET body = 'answer 0.1: forty-three' WHERE body = 'answer 0.1: forty-two'")

    found = verify(edited(base[0], tmp_path / "text.db", work), verifier=signer.verifier, outside=base[2])
    (fault,) = found.integrity.faults
    assert fault.table == "texts"
    assert (fault.run_id, fault.span_id) == (run.start.run_id, subcall.call.span_id)
    assert f"observed of {run.start.run_id}/{subcall.call.span_id}: output" in fault.problem
    assert ": messages" in fault.problem
    assert "forty" not in fault.problem


def test_events_that_were_made_anew_with_hashes_that_fit_are_narrowed_down_by_checkpoints(
    tmp_path: Path, signer: Signer
) -> None:
    path = tmp_path / "store.db"
    with Store.open(str(path)) as store:
        fill(store, runs=1)
        first = make(store, signer).checkpoint.size
        (second,) = fill(store, runs=1)
        size = make(store, signer).checkpoint.size

    def work(edit: tampering.Editor) -> None:
        edit.sql.execute("DELETE FROM texts WHERE 0")
        leaf = size - 3
        (canonical,) = edit.sql.execute("SELECT canonical FROM events WHERE leaf_index = ?", (leaf,)).fetchone()
        text = canonical.replace('"unmeasured"', '"pass"')
        assert text != canonical
        edit.sql.execute(
            "UPDATE events SET canonical = ?, leaf_hash = ? WHERE leaf_index = ?", (text, leaf_hash_of(text), leaf)
        )

    found = verify(edited(path, tmp_path / "anew.db", work), verifier=signer.verifier)
    (fault,) = found.integrity.faults
    assert fault.row == f"leaves {first} to {size - 1}"
    assert fault.problem.startswith("checkpoint 1 was made over other events")
    assert second in fault.problem
    assert [item.state for item in found.integrity.checkpoints] == ["signed", "contradicted"]


def test_a_file_that_is_no_database_any_more_is_a_fault_and_no_crash(
    base: tuple[Path, Path, str, Any], signer: Signer, tmp_path: Path
) -> None:
    for data in (b"", b"nothing", b"x" * 5000):
        path = tmp_path / "broken.db"
        path.write_bytes(data)
        found = check(path, signer, base[2])
        assert not found.integrity.is_whole
        assert found.gaps == []


def test_a_schema_with_names_that_are_no_text_is_a_fault_and_no_crash(
    base: tuple[Path, Path, str, Any], signer: Signer, tmp_path: Path
) -> None:
    path = tampering.copied(base[0], tmp_path / "names.db")
    data = path.read_bytes()
    assert b"CREATE TABLE texts" in data
    path.write_bytes(data.replace(b"CREATE TABLE texts", b"CREATE \xc5\xc5\xc5\xc5\xc5 texts"))
    assert not check(path, signer, base[2]).integrity.is_whole
    with pytest.raises(StoreFormatError, match="expected a monitor database"):
        Store.open(str(path), create=False)


def test_parts_of_a_stream_that_were_moved_or_left_out_are_found(signer: Signer, tmp_path: Path) -> None:
    run = run_started()
    call = started(run.run_id)
    parts = [released(call, after=number) for number in range(3)]
    with Store.open(str(tmp_path / "store.db")) as store:
        store.append_sync(run, call, *parts, observed(call), judged(call))
        assert check_alone(tmp_path / "store.db") == []

    def out(edit: tampering.Editor) -> None:
        edit.sql.execute("DELETE FROM events WHERE seq = -2")

    def behind(edit: tampering.Editor) -> None:
        for old, new in ((4, -1), (5, 4), (-1, 5)):  # the last part and the answer change places
            edit.sql.execute("UPDATE events SET leaf_index = ? WHERE leaf_index = ?", (new, old))

    found = check_alone(Path(edited(tmp_path / "store.db", tmp_path / "out.db", out)))
    assert any("part 3 of a stream is there, and part 2 is not" in problem for problem in found)
    found = check_alone(Path(edited(tmp_path / "store.db", tmp_path / "behind.db", behind)))
    assert found == ["a part of a stream stands after step 1 of its subcall"]


def check_alone(path: Path) -> list[str]:
    return [fault.problem for fault in verify(str(path)).integrity.faults]


def test_a_dropped_trigger_a_changed_view_and_a_new_trigger_are_named(
    base: tuple[Path, Path, str, Any], signer: Signer, tmp_path: Path
) -> None:
    path = tampering.copied(base[0], tmp_path / "schema.db")
    connection = driver().connect(str(path))
    connection.execute("DROP TRIGGER events_keep_update")
    connection.execute("DROP VIEW findings")
    connection.execute("CREATE VIEW findings AS SELECT 1 AS finding")
    connection.execute("CREATE TRIGGER mine AFTER INSERT ON texts BEGIN SELECT 1; END")
    connection.execute("CREATE VIEW of_mine AS SELECT 1 AS one")
    connection.commit()
    connection.close()
    found = check(path, signer, base[2]).integrity
    assert {(fault.table, fault.row) for fault in found.faults} == {
        ("schema", "events_keep_update"),
        ("schema", "findings"),
        ("schema", "mine"),
    }
    assert "the view of_mine is none of the monitor's; it was left out" in found.limits
