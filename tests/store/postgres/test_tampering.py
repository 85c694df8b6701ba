"""What the owner of a server's tables can do to them is found, by scans that use no index, view or trigger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.checkpoints import make
from monitor.audit.integrity.notes import Signer
from monitor.audit.integrity.verify import verify
from monitor.store import Store
from tests.audit.integrity.conftest import fill
from tests.store.databases import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Server

EDITS = {
    "a text": "UPDATE texts SET body = body || '.' WHERE body LIKE 'thought 0.0'",
    "a salt": "UPDATE texts SET salt = '\\x00' WHERE body LIKE 'thought 0.0'",
    "a content hash": "UPDATE texts SET sha256 = NULL WHERE body LIKE 'thought 0.0'",
    "an erasure without a word": "UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body LIKE 'thought 0.0'",
    "an event": "UPDATE events SET canonical = replace(canonical, 'unmeasured', 'pass') WHERE kind = 'judged'",
    "a column": "UPDATE events SET kind = 'observed' WHERE position = (SELECT max(position) FROM events "
    "WHERE kind = 'judged')",
    "an event and its hash": "UPDATE events SET canonical = replace(canonical, 'unmeasured', 'pass'), leaf_hash = encode("
    "sha256('\\x00'::bytea || convert_to(replace(canonical, 'unmeasured', 'pass'), 'UTF8')), 'hex') WHERE kind = 'judged'",
    "a leaf": "UPDATE leaves SET leaf_hash = repeat('0', 64) WHERE leaf_index = 3",
    "the order": "UPDATE leaves SET leaf_index = CASE leaf_index WHEN 4 THEN -5 ELSE -4 END WHERE leaf_index IN (4, 5); "
    "UPDATE leaves SET leaf_index = -leaf_index WHERE leaf_index < 0",
    "an event that is gone": "DELETE FROM events WHERE position = 5",
    "a leaf that is gone": "DELETE FROM leaves WHERE leaf_index = 5",
    "the end": "DELETE FROM leaves WHERE leaf_index > 9; DELETE FROM events WHERE position > 10",
    "a message": "UPDATE message_nodes SET payload = replace(payload, 'user', 'system')",
    "a message that is gone": "ALTER TABLE message_nodes DROP CONSTRAINT message_nodes_parent_hash_fkey; "
    "DELETE FROM message_nodes WHERE parent_hash IS NULL",
    "a text that nobody wrote": "INSERT INTO texts VALUES (repeat('a', 64), repeat('b', 64), '\\x00', 'planted')",
    "a checkpoint": "UPDATE checkpoints SET note = replace(note, 'test', 'best')",
    "checkpoints that are gone": "DELETE FROM checkpoints",
    "a view": "CREATE OR REPLACE VIEW redactions AS SELECT run_id, span_id AS redaction_id, 0 AS whole, '' AS places, "
    "0 AS texts, '' AS why, '' AS redacted_by, at AS redacted_at, 0::bigint AS leaf_index FROM events WHERE false",
    "a trigger": "DROP TRIGGER texts_erase ON texts",
    "a trigger that is off": "ALTER TABLE texts DISABLE TRIGGER texts_erase",
    "a function": "CREATE OR REPLACE FUNCTION monitor_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN RETURN NULL;END'",
    "what waits for a leaf": "INSERT INTO pending_leaves VALUES (3)",
}
TABLES = ("events", "texts", "message_nodes", "leaves", "checkpoints")


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    with server.database() as name:
        yield server.url(name)


@pytest.mark.parametrize("what", EDITS)
def test_every_edit_is_found(url: str, what: str) -> None:
    signer = Signer.generate("test.example/log")
    with Store.open(url) as store:
        fill(store, runs=1)
        note = make(store, signer).note
    whole = verify(url, verifier=signer.verifier, outside=note)
    assert whole.integrity.faults == []
    assert any("amcheck" in limit for limit in whole.integrity.limits)
    with Database(url) as database:  # what was made to compare the schema with was never committed
        assert database.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'monitor_%'") == []
    with Database(url) as database:
        for table in TABLES:
            database.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in EDITS[what].split("; "):
            database.execute(statement)
        for table in TABLES:
            if what != "a trigger that is off" or table != "texts":
                database.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    found = verify(url, verifier=signer.verifier, outside=note).integrity
    assert found.faults != []


def test_what_a_reader_may_not_check_is_said(url: str, server: Server) -> None:
    with Store.open(url) as store:
        fill(store, runs=1)
    with Database(url) as database:
        database.execute("DROP ROLE IF EXISTS only_reader")
        database.execute("CREATE ROLE only_reader LOGIN")
        database.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO only_reader")
    try:
        found = verify(url.replace("monitor@", "only_reader@", 1)).integrity
        assert found.faults == []
        assert any("triggers, views and functions were compared with nothing" in limit for limit in found.limits)
    finally:
        with Database(url) as database:
            database.execute("DROP OWNED BY only_reader")
            database.execute("DROP ROLE only_reader")
