"""Making checkpoints: what is signed, what is refused, and when it happens by itself."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity import checkpoints, proofs
from monitor.audit.integrity.checkpoints import make
from monitor.audit.integrity.notes import Signer, parse_checkpoint
from monitor.audit.integrity.verify import verify
from monitor.errors import ConfigError, StoreFormatError
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate.run import run
from monitor.settings import Settings
from monitor.store import Store
from monitor.store.ledger import leaf_hash_of
from tests.audit.integrity.conftest import fill
from tests.store.databases import Database
from tests.store.events import run_started
from tests.store.test_merkle import is_consistent, is_included

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.audit.integrity.conftest import Sealed


def test_a_checkpoint_goes_on_from_the_last_one(sealed: Sealed) -> None:
    with Store.open(sealed.url) as store:
        again = make(store, sealed.signer)
        assert (again.note, again.is_new) == (sealed.note, False)
        fill(store, runs=1)
        seen: list[int] = []
        grown = make(store, sealed.signer, progress=lambda done, _: seen.append(done))
        first = parse_checkpoint(sealed.note, sealed.signer.verifier)
        assert grown.is_new
        assert seen == [grown.checkpoint.size]
        assert [row.tree_size for row in store.leaves.checkpoints()] == [first.size, grown.checkpoint.size]
        proof = proofs.consistency(store, sealed.note, verifier=sealed.signer.verifier)
    path = [bytes.fromhex(node) for node in proof["consistency"]]
    assert is_consistent(first.size, grown.checkpoint.size, first.root, grown.checkpoint.root, path)


def test_events_are_proved_to_be_in_the_log_with_nothing_of_ours(sealed: Sealed) -> None:
    with Store.open(sealed.url) as store:
        run_id = store.runs()[0].start.run_id
        span = store.subcalls(run_id)[0].call.span_id
        proof = proofs.inclusion(store, run_id, span)
        whole = proofs.inclusion(store, run_id)
        late = run_started()
        store.append_sync(late)
        store.sequence()
        with pytest.raises(ConfigError, match="came after the newest checkpoint"):
            proofs.inclusion(store, late.run_id)
    signed = parse_checkpoint(proof["checkpoint"], sealed.signer.verifier)
    assert len(proof["events"]) == 3
    assert len(whole["events"]) > 12
    for event in [*proof["events"], *whole["events"]]:
        leaf = bytes.fromhex(leaf_hash_of(event["canonical"]))
        path = [bytes.fromhex(node) for node in event["inclusion"]]
        assert is_included(event["leaf_index"], signed.size, leaf, path, signed.root)


def test_a_key_signs_nothing_that_contradicts_what_it_signed(sealed: Sealed) -> None:
    with Database(sealed.url) as database:
        table = "leaves" if sealed.url.startswith("postgres") else "events"
        for name in ("events", table):
            database.lift_triggers(name)
        if table == "leaves":
            database.execute("DELETE FROM leaves WHERE leaf_index > 20")
            database.execute("DELETE FROM events WHERE position > 21")
        else:
            database.execute("DELETE FROM events WHERE leaf_index > 20")
    with Store.open(sealed.url) as store:
        with pytest.raises(StoreFormatError, match="its end was cut off"):
            make(store, sealed.signer)
        with pytest.raises(StoreFormatError, match=r"contradicts the checkpoint over .* it has only 21 leaves"):
            make(store, sealed.signer, earlier=sealed.note)
        assert make(store, Signer.generate("another.example/log")).checkpoint.size == 21


def test_a_checkpoint_that_was_changed_in_the_store_is_not_gone_on_from(sealed: Sealed) -> None:
    with Database(sealed.url) as database:
        database.lift_triggers("checkpoints")
        other = sealed.signer.sign(f"{sealed.signer.verifier.name}\n3\n{'A' * 43}=\n").replace("'", "''")
        database.execute(f"UPDATE checkpoints SET note = '{other}'")
    with Store.open(sealed.url) as store, pytest.raises(StoreFormatError, match="does not go with its own subtrees"):
        make(store, sealed.signer)


def test_the_database_refuses_to_change_or_delete_a_checkpoint(sealed: Sealed) -> None:
    with Database(sealed.url) as database:
        for statement in ("UPDATE checkpoints SET at = ''", "DELETE FROM checkpoints"):
            with pytest.raises(database.refusal, match="append-only"):
                database.execute(statement)


def test_processes_that_make_one_at_once_make_one(new_database: Callable[[], str], signer: Signer) -> None:
    url = new_database()
    with Store.open(url) as store:
        fill(store, runs=1)
        threads = [threading.Thread(target=make, args=(store, signer)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [row.number for row in store.leaves.checkpoints()] == [0]


def ask(url: str, key: Path, **given: object) -> None:
    settings = Settings(db=url, checkpoint_key=key, policies=(), **given)
    client = ScriptedModel([Reply("<think>why</think>forty-two")])
    asyncio.run(run("answer", "what is it?", model=client, settings=settings))


def test_a_run_ends_with_a_checkpoint_over_its_end(
    new_database: Callable[[], str], signer: Signer, tmp_path: Path
) -> None:
    url, key = new_database(), tmp_path / "key"
    key.write_text(signer.skey)
    ask(url, key)
    with Store.open(url) as store:
        (row,) = store.leaves.checkpoints()
        assert row.tree_size == store.leaves.size() == len(store.events(store.runs()[0].start.run_id))
    found = verify(url, verifier=signer.verifier)
    assert found.integrity.faults == []
    assert found.integrity.covered == found.integrity.leaves


def test_a_key_that_cannot_be_read_stops_the_run_before_anything_is_stored(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    url = new_database()
    with pytest.raises(ConfigError, match="the private key cannot be read"):
        ask(url, tmp_path / "absent")
    with Store.open(url) as store:
        assert store.runs() == []


def test_a_long_process_makes_them_on_a_schedule(
    new_database: Callable[[], str], signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = threading.Semaphore(0)
    real = checkpoints.make

    def noted(store: Store, with_key: Signer) -> object:
        done = real(store, with_key)
        made.release()
        return done

    monkeypatch.setattr(checkpoints, "make", noted)
    key = tmp_path / "key"
    key.write_text(signer.skey)
    url = new_database()
    with Store.open(url) as store:
        with checkpoints.kept(store, Settings(db=url, checkpoint_key=key, checkpoint_seconds=0.01)):
            store.append_sync(run_started())
            store.sequence()
            assert made.acquire(timeout=60)
            assert made.acquire(timeout=60)
            store.append_sync(run_started())
        sizes = [row.tree_size for row in store.leaves.checkpoints()]
    assert sizes[-1] == 2
    assert sizes == sorted(set(sizes))


def test_a_checkpoint_that_cannot_be_made_is_a_warning(
    sealed: Sealed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "key"
    key.write_text(sealed.signer.skey)
    with Database(sealed.url) as database:
        database.lift_triggers("checkpoints")
        database.execute("UPDATE checkpoints SET note = 'nothing'")
    with Store.open(sealed.url) as store, caplog.at_level(logging.WARNING):
        with checkpoints.kept(store, Settings(db=sealed.url, checkpoint_key=key)):
            pass
        assert "no checkpoint was made" in caplog.text
