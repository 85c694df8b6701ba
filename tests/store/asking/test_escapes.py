"""Every way to write, to read what is no view, to leave the database or to run for ever through a question is refused."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.redaction import plan_redaction, redact
from monitor.errors import StoreUnavailableError
from monitor.records import Label
from monitor.store import ScanResult, Store
from monitor.store.asking import VIEWS, QueryError, QueryLimits, ask, grant
from monitor.store.asking.views import FUNCTIONS
from monitor.store.erasing import Eraser
from monitor.store.location import is_postgres
from tests.audit import known
from tests.store.databases import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers import Server

LIMITS = QueryLimits(seconds=1.0, bytes=4 * 2**20, memory=48 * 2**20)
ENDLESS = "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t"
DOUBLING = (
    "WITH RECURSIVE t AS (SELECT CAST('aaaaaaaa' AS text) AS x UNION ALL SELECT x || x FROM t) "
    "SELECT max(length(x)) FROM t"
)
CROSS = "SELECT count(*) FROM " + ", ".join(f"messages AS {name}" for name in "abcdefgh")

WRITES = (
    "INSERT INTO runs VALUES (1)",
    "INSERT INTO texts VALUES ('a', 'b', 'c', 'd')",
    "UPDATE events SET canonical = ''",
    "DELETE FROM events",
    "DROP VIEW runs",
    "DROP TABLE events",
    "CREATE TABLE mine (x integer)",
    "CREATE TEMP TABLE mine (x integer)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE INDEX mine ON events (kind)",
    "ALTER TABLE events RENAME TO other",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT x",
    "ANALYZE",
    "REINDEX events",
    "SELECT 1; DELETE FROM events",
    "SELECT 1; SELECT 2",
    "",
    "   -- nothing",
    "nonsense",
)
HIDDEN = (
    "SELECT salt FROM texts",
    'SELECT count(*) FROM "texts"',
    "SELECT * FROM events",
    "SELECT * FROM message_nodes",
    "SELECT * FROM search_texts",
    "WITH runs AS (SELECT salt AS run_id FROM texts) SELECT * FROM runs",
    "WITH subcalls AS (SELECT * FROM events) SELECT canonical FROM subcalls",
    "SELECT (SELECT max(salt) FROM texts) FROM runs",
    "SELECT * FROM runs WHERE EXISTS (SELECT 1 FROM events)",
    "SELECT x.salt FROM (SELECT * FROM texts) AS x",
)
ON_SQLITE = (
    "ATTACH DATABASE '{folder}/other.db' AS other",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '{folder}/copy.db'",
    "PRAGMA writable_schema = 1",
    "PRAGMA query_only = OFF",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA temp_store_directory = '{folder}'",
    "PRAGMA hard_heap_limit = 0",
    "PRAGMA trusted_schema = ON",
    "SELECT * FROM pragma_table_info('events')",
    "SELECT count(*) FROM pragma_database_list",
    "SELECT * FROM pragma_function_list",
    "SELECT load_extension('{folder}/evil')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('{folder}/file', 'x')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT edit('x')",
    "SELECT randomblob(1000000000)",
    "SELECT zeroblob(1000000000)",
    "SELECT hex(zeroblob(1000000000))",
    "SELECT printf('%1000000000d', 1)",
    "SELECT format('%1000000000d', 1)",
    "SELECT sqlite_compileoption_get(1)",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM sqlite_schema",
    "SELECT sql FROM sqlite_temp_master",
    "UPDATE sqlite_master SET sql = ''",
    "SELECT * FROM 'texts'",
    "SELECT * FROM [texts]",
    "SELECT * FROM `texts`",
    "SELECT * FROM TeXtS",
    "SELECT * FROM main.texts",
    "WITH runs AS (SELECT * FROM 'texts') SELECT * FROM runs",
    "SELECT * FROM search_words WHERE search_words MATCH 'code'",
    "INSERT INTO search_words (search_words) VALUES ('delete-all')",
    "SELECT * FROM search_words_data",
    "CREATE VIRTUAL TABLE v USING fts5(x)",
    "CREATE VIRTUAL TABLE v USING fts5vocab(search_words, row)",
    "CREATE TEMP TRIGGER t AFTER INSERT ON events BEGIN SELECT 1; END",
    "REPLACE INTO runs VALUES (1)",
    "SELECT * FROM dbstat",
    "SELECT * FROM bytecode('SELECT 1')",
)
ON_POSTGRES = (
    "COPY (SELECT 1) TO '{folder}/file'",
    "COPY texts TO STDOUT",
    "COPY (SELECT 1) TO PROGRAM 'touch {folder}/file'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT \"pg_read_file\"('/etc/passwd')",
    "SELECT pg_catalog.pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT pg_sleep(60)",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_cancel_backend(1)",
    "SELECT pg_reload_conf()",
    "SELECT pg_switch_wal()",
    "SELECT pg_notify('a', 'b')",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '{folder}/file')",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT set_config('role', 'none', false)",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT set_config('statement_timeout', '0', false)",
    "SELECT current_setting('data_directory')",
    "SELECT nextval('events_position_seq')",
    "SELECT setval('events_position_seq', 1)",
    "SELECT query_to_xml('SELECT salt FROM texts', true, true, '')",
    "SELECT table_to_xml('texts', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT ts_stat('SELECT words FROM search_words')",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT 1')",
    "SELECT dblink('dbname=postgres', 'SELECT 1')",
    "SELECT dblink_exec('dbname=postgres', 'DROP TABLE events')",
    "SELECT txid_current()",
    "SELECT repeat('a', 1000000000)",
    "SELECT lpad('a', 1000000000)",
    "SELECT generate_series(1, 1000000000)",
    "SELECT monitor_integer('1')",
    "SELECT public.monitor_integer('1')",
    "SELECT * FROM pg_authid",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_settings",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM information_schema.tables",
    'SELECT * FROM "pg_authid"',
    'SELECT * FROM U&"\\0074exts"',
    "SELECT U&'\\0041'",
    "SELECT E'\\'; DROP TABLE events; --'",
    "SELECT $$a$$",
    "SELECT $x$; DROP TABLE events; $x$",
    "SELECT 1 /* a /* b */ ; DROP TABLE events",
    "SELECT 'a",
    "SELECT * FROM runs FOR UPDATE",
    "SELECT 1 AS x INTO mine",
    "WITH x AS (DELETE FROM events RETURNING 1) SELECT * FROM x",
    "WITH x AS (INSERT INTO runs VALUES (1) RETURNING 1) SELECT * FROM x",
    "DO 'BEGIN END'",
    "CALL x()",
    "SET ROLE none",
    "RESET ROLE",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SET TRANSACTION READ WRITE",
    "LOCK TABLE events",
    "LISTEN a",
    "NOTIFY a",
    "PREPARE x AS SELECT 1",
    "EXECUTE x",
    "DECLARE c CURSOR FOR SELECT 1",
    "FETCH ALL FROM monitor_query",
    "CREATE ROLE evil SUPERUSER",
    "GRANT ALL ON texts TO public",
    "LOAD 'evil'",
    "CREATE EXTENSION dblink",
    "TRUNCATE texts",
    "VACUUM",
    "CHECKPOINT",
    "EXPLAIN ANALYZE SELECT 1",
    "SHOW ALL",
    "TABLE texts",
    "SELECT * FROM runs TABLESAMPLE system (50)",
    "SELECT 1 OPERATOR(pg_catalog.+) 1",
    "SELECT (runs).run_id.pg_read_file FROM runs",
    "SELECT f.x FROM lo_import ('/etc/passwd') AS f (x)",
    "SELECT lo_import\n/* a comment */ ('/etc/passwd')",
)


@pytest.fixture
def record(new_database: Callable[[], str]) -> str:
    address = new_database()
    with Store.open(address) as store:
        known.fill(store)
    if is_postgres(address):
        grant(address)
    return address


def state(address: str) -> str:
    """What the record says, in one hash: nothing that is tried here changes it."""
    with Store.open(address) as store:
        leaves = [event.leaf_hash for run in (known.A, known.B) for event in store.events(run)]
        texts = repr([store.subcalls(run) for run in (known.A, known.B)])
    return hashlib.sha256(repr((leaves, texts)).encode()).hexdigest()


def test_what_writes_hides_or_escapes_is_refused_and_changes_nothing(record: str, tmp_path: Path) -> None:
    before, folder = state(record), tmp_path / "outside"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    own = ON_POSTGRES if is_postgres(record) else ON_SQLITE
    passed = []
    for statement in (*WRITES, *HIDDEN, *own):
        try:
            ask(record, statement.replace("{folder}", str(folder)), limits=LIMITS)
        except QueryError:
            continue
        passed.append(statement)
    assert passed == []
    assert state(record) == before
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("endless", [ENDLESS, CROSS])
def test_what_takes_too_long_is_stopped(record: str, endless: str) -> None:
    with pytest.raises(QueryError, match=r"stopped after 0\.3 s"):
        ask(record, endless, limits=QueryLimits(seconds=0.3))


def test_what_grows_is_stopped(record: str) -> None:
    with pytest.raises(QueryError, match=r"memory|stopped after|is wrong: .*(invalid|exceed)"):
        ask(record, DOUBLING, limits=LIMITS)
    grown = "SELECT " + " || ".join(["(SELECT string_agg(content, '') FROM messages)"] * 3)
    assert len(ask(record, grown, limits=LIMITS).rows) == 1
    wide = "SELECT a.content || b.content || c.content AS x FROM messages a, messages b, messages c, messages d"
    with pytest.raises(QueryError, match="more than 4,096 bytes"):
        ask(record, wide, limits=QueryLimits(bytes=4096))


def test_rows_are_limited_and_the_answer_says_so(record: str) -> None:
    cut = ask(record, "SELECT span_id FROM subcalls ORDER BY span_id", limits=QueryLimits(rows=2))
    assert (cut.columns, cut.rows, cut.is_cut) == (("span_id",), [(known.A1,), (known.A2,)], True)
    assert not ask(record, "SELECT span_id FROM subcalls", limits=QueryLimits(rows=9)).is_cut


def test_parameters_are_values_and_nothing_else(record: str) -> None:
    hostile = "x' OR 1=1; DROP TABLE events; --"
    assert ask(record, "SELECT :a AS a, ':a' AS b", {"a": hostile}).rows == [(hostile, ":a")]
    assert ask(
        record, "SELECT count(*) AS n FROM subcalls WHERE role = :role AND '%' = '%'", {"role": "judge"}
    ).rows == [(3,)]
    with pytest.raises(QueryError, match="b"):
        ask(record, "SELECT :a, :b", {"a": 1})


def test_every_table_is_refused_and_every_view_that_is_there_is_listed(record: str) -> None:
    """Of whatever the migrations make; what they add next must be put on one side or the other."""
    there = "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    if is_postgres(record):
        there = (
            "SELECT c.relname, c.relkind::text FROM pg_class AS c "
            "WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p')"
        )
    with Database(record) as database:
        found = {str(name): str(kind)[0] for name, kind in database.rows(there)}
    assert {name for name, kind in found.items() if kind == "v" or name == "leaves"} == {*VIEWS, "shown_texts"}
    assert {"checkpoints", "scan_results", "search_words", "texts"} < found.keys()
    for name in found.keys() - set(VIEWS):
        for statement in (f"SELECT * FROM {name}", f"WITH runs AS (SELECT * FROM {name}) SELECT * FROM runs"):
            with pytest.raises(QueryError):
                ask(record, statement, limits=LIMITS)


def test_ordinary_questions_are_answered(record: str) -> None:
    with Eraser.opened(record, busy_seconds=5) as eraser:
        redact(eraser, plan_redaction(eraser, phrase="it deletes"), everywhere=True, why="asked for", by="ann")
    with Store.open(record) as store:
        check = {"check": "rule", "name": "leak", "shadow": False}
        store.scans.begin("5" * 16, {"checks": [check], "parts": 1, "tree_size": 40})
        matched = '[{"evidence":[],"n":0,"status":"match"}]'
        store.scans.add("5" * 16, [(0, [ScanResult(3, known.A, known.A1, "0" * 64, "done", "flag", "flag", matched)])])
    for view in VIEWS:
        assert ask(record, f"SELECT count(*) AS n FROM {view}").rows[0][0] > 0, view
    nested = "WITH a AS (SELECT role, cost FROM subcalls), b AS (SELECT role, sum(cost) AS cost FROM a GROUP BY role) "
    assert ask(record, nested + "SELECT role FROM b ORDER BY role").rows == [
        ("agent",),
        ("judge",),
        ("planner",),
        ("worker",),
    ]
    windows = (
        "SELECT role, rank() OVER (PARTITION BY role ORDER BY seconds) AS place FROM subcalls /* all */ -- of them"
    )
    assert len(ask(record, windows).rows) == 9
    depth = (
        "WITH RECURSIVE up AS (SELECT span_id, parent_id, 0 AS level FROM subcalls WHERE parent_id IS NULL UNION ALL "
        "SELECT s.span_id, s.parent_id, up.level + 1 FROM subcalls AS s JOIN up ON up.span_id = s.parent_id) "
        "SELECT max(level) AS deepest FROM up"
    )
    assert ask(record, depth).rows == [(1,)]


def test_a_question_reads_while_a_writer_holds_the_store(record: str) -> None:
    with Store.open(record) as store:
        store.append_sync(known.review(known.A, 9, known.A5, known.LEAK, Label.TRUE, "cyd"))
        assert ask(record, "SELECT count(*) AS n FROM reviews").rows == [(6,)]


@pytest.mark.sqlite("a file that may only be read")
def test_a_file_in_a_folder_that_may_only_be_read(record: str, tmp_path: Path) -> None:
    for rest in tmp_path.glob("*.db-*"):
        rest.unlink()
    assert ask(record, "SELECT count(*) AS n FROM runs").rows == [(2,)]


def test_no_function_that_may_be_called_is_one_that_is_known_to_do_harm() -> None:
    assert not {name for name in FUNCTIONS if name.startswith(("pg_", "lo_", "dblink", "sqlite_", "fts"))}
    assert FUNCTIONS.isdisjoint(
        {"set_config", "query_to_xml", "load_extension", "randomblob", "zeroblob", "repeat", "nextval"}
    )


# ------------------------------------------------------------------------------------------------------- the role


@pytest.fixture
def shared(server: Server) -> Iterator[tuple[Server, str]]:
    """A server's database with the record in it, whoever the suite runs on."""
    with server.database() as name:
        with Store.open(server.url(name)) as store:
            known.fill(store)
        server.execute("DROP ROLE IF EXISTS monitor_auditor") if not _in_use(server) else None
        yield server, name


def _in_use(server: Server) -> bool:
    return bool(
        server.execute(
            "SELECT 1 FROM pg_shdepend WHERE refobjid = (SELECT oid FROM pg_roles WHERE rolname = 'monitor_auditor')"
        )
    )


def test_a_superuser_asks_as_the_auditor_or_not_at_all(shared: tuple[Server, str]) -> None:
    server, name = shared
    url = server.url(name)
    if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'monitor_auditor'"):
        with pytest.raises(StoreUnavailableError, match=r"is a superuser.*monitor audit grant"):
            ask(url, "SELECT 1 AS x")
    statements = grant(url)
    assert any("GRANT SELECT ON" in statement for statement in statements)
    assert grant(url) == [statement for statement in statements if not statement.startswith("CREATE ROLE")]
    assert ask(url, "SELECT current_user AS me").rows == [("monitor_auditor",)]
    may = "SELECT has_table_privilege('monitor_auditor', %s, 'SELECT')"
    assert {table: server.execute(may, table, database=name) for table in ("texts", "runs")} == {
        "texts": [(False,)],
        "runs": [(True,)],
    }


def test_another_login_may_ask_once_it_is_let(shared: tuple[Server, str]) -> None:
    server, name = shared
    login = f"reader_{name}"
    server.execute(f"CREATE ROLE {login} LOGIN")
    try:
        url = server.url(name, username=login)
        with pytest.raises((QueryError, StoreUnavailableError)):
            ask(url, "SELECT count(*) AS n FROM runs")
        grant(server.url(name), login)
        server.execute(f"GRANT SELECT ON monitor_schema TO {login}", database=name)
        assert ask(url, "SELECT count(*) AS n FROM runs").rows == [(2,)]
        assert ask(url, "SELECT current_user AS me").rows == [("monitor_auditor",)]
    finally:
        server.execute(f"DROP OWNED BY {login}", database=name)
        server.execute(f"DROP ROLE {login}")
