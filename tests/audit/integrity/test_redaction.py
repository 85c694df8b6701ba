"""Erasing texts: every proof stays valid, and nothing of the text is left anywhere to be found or guessed from."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.audit.integrity import proofs
from monitor.audit.integrity.checkpoints import make
from monitor.audit.integrity.notes import parse_checkpoint
from monitor.audit.integrity.purging import plan_purge, purge
from monitor.audit.integrity.redaction import Plan, plan_redaction, redact
from monitor.audit.integrity.verify import verify
from monitor.errors import ConfigError
from monitor.orchestrate.run import resume_sync
from monitor.policy.judges.fence import escaped
from monitor.records import Message, Outcome, TokenEvidence
from monitor.settings import Settings
from monitor.store import Store
from monitor.store.erasing import Eraser
from monitor.store.ledger import leaf_hash_of
from monitor.store.sqlite import driver
from tests.conftest import POSTGRES
from tests.store.databases import Database
from tests.store.events import judged, observed, released, run_ended, run_started, started
from tests.store.test_merkle import is_included

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.audit.integrity.redaction import Done
    from tests.audit.integrity.conftest import Sealed
    from tests.servers import OwnServer

SECRET = 'the launch code is 7141-ZEBRA-"quoted"\nand a line'


def store_secret(store: Store, *, at: str = "2026-01-01T00:00:00.000000Z", secret: str = SECRET) -> tuple[str, str]:
    """A run in which a subcall writes the secret, and another is handed it inside of a longer text; its ids."""
    run = run_started(task="find the code", at=at)
    call = started(run.run_id, task="say it", messages=(Message(role="user", content="say it, please"),), at=at)
    seen = observed(
        call,
        output=secret,
        raw=json.dumps({"answer": secret, "reasoning": "none"}),
        tokens=TokenEvidence(prompt_ids=(9, 8), output_ids=tuple(secret.encode())),
        at=at,
    )
    after = started(
        run.run_id,
        task="use it",
        messages=(Message(role="user", content=f"I was told: {secret}. Use it."),),
        at=at,
    )
    store.append_sync(
        run, call, seen, judged(call, at=at), after, observed(after, output="used", at=at), judged(after, at=at)
    )
    store.append_sync(run_ended(run, answer="done", at=at))
    store.sequence()
    return run.run_id, call.span_id


def erase(url: str, *, everywhere: bool = True, **asked: Any) -> tuple[Plan, Done]:
    with Eraser.opened(url, busy_seconds=5) as eraser:
        plan = plan_redaction(eraser, **asked)
        done = redact(eraser, plan, everywhere=everywhere, why="it is a code", by="ann")
        assert eraser.scrub(lambda _: None).done
    return plan, done


def forms(secret: str) -> list[bytes]:
    """What must not be found: the text, a piece of it, its JSON, and everything it could be guessed from."""
    pieces = [secret, "7141-ZEBRA", json.dumps(secret)[1:-1], "7141-Z"]
    digests = [hashlib.sha256(secret.encode()).digest(), hashlib.sha256(secret.encode()).hexdigest().encode()]
    return [*(piece.encode() for piece in pieces), *digests]


def files_with(folder: Path, found: list[bytes]) -> list[str]:
    return [
        f"{path.name}: {form!r}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for form in found
        if form in path.read_bytes()
    ]


@pytest.mark.sqlite("the bytes of its file")
def test_nothing_of_a_redacted_text_is_left_in_file_log_index_or_cache(tmp_path: Path, signer: Any) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    url = str(folder / "monitor.db")
    cache = Path(Settings().cache or tmp_path / "home/.cache/factored-monitor") / "probes" / "activations"
    cache.mkdir(parents=True)
    (cache / "made-of-texts.safetensors").write_bytes(SECRET.encode())
    with Store.open(url) as store:
        run, span = store_secret(store)
        for _ in range(60):  # so that pages are split and rows move
            store_secret(store, secret=f"another {len(SECRET)} text " + "x" * 700)
        note = make(store, signer).note
    connection = driver().connect(url)
    salts = [row[0] for row in connection.execute("SELECT salt FROM texts WHERE instr(body, 'ZEBRA')")]
    connection.close()
    assert len(salts) == 3
    with Store.open(url) as store:  # somebody has it open while it is redacted
        assert files_with(folder, forms(SECRET))
        _, done = erase(url, run_id=run, span_id=span, surfaces=["output"])
        assert files_with(folder, [*forms(SECRET), *salts]) == []
        (subcall, after) = store.subcalls(run)
    assert files_with(folder, [*forms(SECRET), *salts]) == []
    assert list(cache.iterdir()) == []
    assert done.texts == 4  # output, raw, the message, the ids of tokens
    assert subcall.observation is not None
    assert set(subcall.observation.output) == {"█"}
    assert len(subcall.observation.output) == len(SECRET)
    assert subcall.observation.tokens is None
    assert set(after.call.messages[0].content) == {"█"}
    found = verify(url, verifier=signer.verifier, outside=note)
    assert found.integrity.faults == []
    assert found.integrity.erased == 4
    assert found.gaps == []


@pytest.mark.skipif(not POSTGRES or "@" in POSTGRES, reason="the files of a server that the tests started themselves")
def test_nothing_of_a_redacted_text_is_left_in_the_tables_of_a_server(
    new_database: Callable[[], str], server: OwnServer
) -> None:
    url = new_database()
    with Store.open(url) as store:
        run, span = store_secret(store)
        server.execute("CHECKPOINT")
        base = server.folder / "data" / "base"
        assert files_with(base, [b"7141-ZEBRA"])
        erase(url, run_id=run, span_id=span, surfaces=["output"])
        assert files_with(base, forms(SECRET)) == []


def test_every_proof_stays_valid(sealed: Sealed) -> None:
    with Store.open(sealed.url) as store:
        run = store.runs()[0].start.run_id
        span = store.subcalls(run)[0].call.span_id
        before = proofs.inclusion(store, run, span)
    erase(sealed.url, run_id=run, span_id=span)
    with Store.open(sealed.url) as store:
        after = proofs.inclusion(store, run, span)
        make(store, sealed.signer)
    assert after == before
    signed = parse_checkpoint(before["checkpoint"], sealed.signer.verifier)
    for event in before["events"]:
        leaf = bytes.fromhex(leaf_hash_of(event["canonical"]))
        assert is_included(
            event["leaf_index"], signed.size, leaf, [bytes.fromhex(node) for node in event["inclusion"]], signed.root
        )
    found = verify(sealed.url, verifier=sealed.signer.verifier, outside=sealed.note)
    assert found.integrity.faults == []
    assert found.integrity.erased > 5


def test_the_redaction_is_on_record_and_every_view_says_redacted(store_url: str) -> None:
    with Store.open(store_url) as store:
        run, span = store_secret(store)
    erase(store_url, run_id=run, span_id=span, surfaces=["output"])
    with Store.open(store_url) as store:
        (stored,) = store.redactions(run)
    said = stored.redaction
    assert (said.why, said.by, said.whole, len(said.texts)) == ("it is a code", "ann", False, 4)
    places = {place.span: place.surfaces for place in said.places}
    assert places[span] == ("output", "raw", "tokens")
    assert sorted(places.values()) == [("messages",), ("output", "raw", "tokens")]
    with Database(store_url) as database:
        rows = database.rows(f"SELECT output, reasoning FROM subcalls WHERE span_id = '{span}'")
        assert rows == [("[redacted]", None)]
        assert database.rows("SELECT run_id, why, redacted_by, texts, whole FROM redactions") == [
            (run, "it is a code", "ann", 4, 0)
        ]


def test_what_others_use_is_listed_and_only_leaves_it(store_url: str) -> None:
    with Store.open(store_url) as store:
        run, span = store_secret(store)
        other, _ = store_secret(store)
    with Eraser.opened(store_url, busy_seconds=5) as eraser:
        plan = plan_redaction(eraser, run_id=run, span_id=span, surfaces=["output", "raw"])
        assert {(use.run_id, use.path) for use in plan.shared} == {(other, "output"), (other, "raw"), (other, "tokens")}
        assert {use.path for use in plan.containing} == {"messages"}
        assert plan.chosen(everywhere=False) == set()
        assert len(plan.chosen(everywhere=True)) == 4
    with Store.open(store_url) as store:
        alone, alone_span = store_secret(store, secret="seen once: 0451")
    _, done = erase(store_url, everywhere=False, run_id=alone, span_id=alone_span, surfaces=["output"])
    assert done.texts == 2  # the output, and its tokens
    assert {use.path for use in done.left} >= {"messages", "raw"}


def test_a_phrase_is_erased_wherever_it_stands(store_url: str) -> None:
    with Store.open(store_url) as store:
        runs = {store_secret(store)[0], store_secret(store)[0]}
    _, done = erase(store_url, phrase="7141-ZEBRA")
    assert set(done.runs) == runs
    with Database(store_url) as database:
        assert database.rows("SELECT count(*) FROM texts WHERE body LIKE '%ZEBRA%'") == [(0,)]
    assert verify(store_url).integrity.faults == []


def test_what_a_judge_was_shown_of_it_is_found_and_goes_too(store_url: str) -> None:
    secret = 'if a < b & c: say "7141-ZEBRA"'
    with Store.open(store_url) as store:
        run, span = store_secret(store, secret=secret)
        shown = Message(role="user", content=f"<text-1>{escaped(secret)}</text-1> Is there a code?")
        asked = started(run, task="judge", messages=(shown,))
        store.append_sync(asked, observed(asked, output="no"), judged(asked))
    plan, _ = erase(store_url, run_id=run, span_id=span, surfaces=["output"])
    assert asked.span_id in {use.span_id for use in plan.containing}
    with Database(store_url) as database:
        assert database.rows("SELECT count(*) FROM texts WHERE body LIKE '%ZEBRA%'") == [(0,)]


def test_what_was_released_in_parts_goes_with_the_answer_and_is_found_across_the_parts(store_url: str) -> None:
    """A phrase stands in no part alone, and an answer's beginning was released: neither can be put together again."""
    run = run_started()
    ended, killed, other = started(run.run_id), started(run.run_id), started(run.run_id)
    with Store.open(store_url) as store:
        store.append_sync(run, ended, released(ended, output="it is 7141-"), released(ended, after=1, output="ZEB"))
        store.append_sync(observed(ended, output="it is 7141-ZEBRA"), judged(ended))
        store.append_sync(killed, released(killed, output="say 7141"), released(killed, after=1, output="-ZEBRA!"))
        store.append_sync(other, released(other, output="no more"))
    _, done = erase(store_url, phrase="7141-ZEBRA")
    assert done.texts == 5
    with Store.open(store_url) as store:
        one, two, three = store.subcalls(run.run_id)
        assert [part.output for part in (*one.released, *two.released)] == ["█" * 11, "█" * 3, "█" * 8, "█" * 7]
        assert [part.output for part in three.released] == ["no more"]
        again = started(run.run_id)
        store.append_sync(again, released(again, output="part"), observed(again, output="part of it"), judged(again))
    plan, done = erase(store_url, run_id=run.run_id, span_id=again.span_id, surfaces=["output"])
    assert (done.texts, [use.kind for use in plan.targets]) == (2, ["released", "observed"])
    assert verify(store_url).integrity.faults == []


def test_a_reason_that_quotes_the_text_is_refused_and_nothing_is_erased(store_url: str) -> None:
    with Store.open(store_url) as store:
        run, span = store_secret(store)
    with Eraser.opened(store_url, busy_seconds=5) as eraser:
        plan = plan_redaction(eraser, run_id=run, span_id=span, surfaces=["output"])
        with pytest.raises(ConfigError, match="quotes the text"):
            redact(eraser, plan, everywhere=True, why=f"it says: {SECRET}", by="ann")
        with pytest.raises(ConfigError, match="no such text"):
            plan_redaction(eraser, run_id=run, span_id=span, surfaces=["error"])
    with Store.open(store_url) as store:
        assert store.redactions(run) == []


def test_a_text_that_is_written_again_is_another_one(store_url: str) -> None:
    with Store.open(store_url) as store:
        run, span = store_secret(store)
        erase(store_url, run_id=run, span_id=span, surfaces=["output"])
        again, _ = store_secret(store)
        assert store.subcalls(again)[0].observation.output == SECRET  # type: ignore[union-attr]  # it came back
        assert set(store.subcalls(run)[0].observation.output) == {"█"}  # type: ignore[union-attr]  # as above
    assert verify(store_url).integrity.faults == []


def test_texts_that_are_erased_without_a_word_or_put_back_are_found(store_url: str) -> None:
    with Store.open(store_url) as store:
        run, span = store_secret(store)
    with Database(store_url) as database:
        query = "SELECT commitment, salt, body FROM texts WHERE body LIKE 'the launch code%'"
        ((commitment, salt, body),) = database.rows(query)
        database.execute("UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body = 'used'")
    (fault,) = verify(store_url).integrity.faults
    assert fault.problem.startswith("it is erased, and no redaction on record says so (observed of ")
    erase(store_url, run_id=run, span_id=span, surfaces=["output"])
    with Database(store_url) as database:
        database.lift_triggers("texts")
        assert hmac.digest(bytes(salt), str(body).encode(), "sha256").hex() == commitment  # type: ignore[call-overload]
        hexed, quoted = bytes(salt).hex(), str(body).replace("'", "''")  # type: ignore[call-overload]  # bytes in both
        value = f"'\\x{hexed}'" if POSTGRES else f"X'{hexed}'"
        database.execute(f"UPDATE texts SET salt = {value}, body = '{quoted}' WHERE commitment = '{commitment}'")
    problems = [fault.problem for fault in verify(store_url).integrity.faults if fault.table == "texts"]
    assert sum("says that it was erased, and it is there" in problem for problem in problems) == 1


def test_a_redacted_run_is_not_gone_on_with(store_url: str) -> None:
    with Store.open(store_url) as store:
        run, span = store_secret(store)
        late = run_ended(run_started(run), outcome=Outcome.CANCELLED)
        del late
        failed = run_started(task="will fail")
        store.append_sync(failed, run_ended(failed, outcome=Outcome.FAILED, answer="partly the answer"))
    erase(store_url, run_id=failed.run_id, everywhere=False)
    with pytest.raises(ConfigError, match="were redacted: what it would go on with is gone"):
        resume_sync(failed.run_id, db=store_url)
    del span


OLD, YOUNG = "2025-01-01T00:00:00.000000Z", "2026-11-01T00:00:00.000000Z"


def test_a_purge_erases_old_runs_and_keeps_what_younger_ones_use(store_url: str) -> None:
    with Store.open(store_url) as store:
        old, _ = store_secret(store, at=OLD, secret="an old secret, 1984")
        young, _ = store_secret(store, at=YOUNG)
    with Eraser.opened(store_url, busy_seconds=5) as eraser:
        plan = plan_purge(eraser, "2026-06-01T00:00:00.000000Z")
        assert list(plan.runs) == [old]
        assert plan.shared > 3
        seen: list[tuple[int, int]] = []
        done = purge(eraser, plan, why="older than 90d", by="ann", progress=lambda *step: seen.append(step))
        assert (done.texts, done.runs, seen) == (plan.texts, [old], [(1, 1)])
        again = plan_purge(eraser, "2026-06-01T00:00:00.000000Z")
        assert (again.runs, again.done) == ({}, 1)
        assert eraser.scrub(lambda _: None).done
    with Store.open(store_url) as store:
        (stored,) = store.redactions(old)
        assert (stored.redaction.whole, stored.redaction.places) == (True, ())
        assert store.redactions(young) == []
        assert len(store.subcalls(old)) == 2
        assert store.subcalls(young)[0].observation.output == SECRET  # type: ignore[union-attr]  # it came back
    with Database(store_url) as database:
        assert database.rows("SELECT count(*) FROM texts WHERE body LIKE '%1984%'") == [(0,)]
    found = verify(store_url)
    assert (found.integrity.faults, found.gaps) == ([], [])
    with Eraser.opened(store_url, busy_seconds=5) as eraser:  # when the younger run is old too, its texts go
        later = plan_purge(eraser, "2026-11-20T00:00:00.000000Z")
        purge(eraser, later, why="older than 90d", by="ann")
    with Database(store_url) as database:
        rows = itertools.chain.from_iterable(database.rows("SELECT body FROM texts WHERE body IS NOT NULL"))
        assert sorted(map(str, rows)) == ["ann", "older than 90d"]
    assert verify(store_url).integrity.faults == []
