"""Databases that are empty, old, new, somebody else's or out of reach; and passwords, which are never shown."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import monitor
from monitor.audit.integrity.checkpoints import make
from monitor.audit.integrity.notes import Signer
from monitor.cli import main
from monitor.errors import ConfigError, StoreError, StoreFormatError, StoreUnavailableError
from monitor.models.scripted import ScriptedModel
from monitor.settings import Settings
from monitor.store import Store, inspect, without_password
from monitor.store.location import files_of
from monitor.store.opening import locate
from monitor.store.postgres.address import parse_address
from monitor.store.postgres.schema import VERSION_TABLE
from monitor.store.postgres.tables import METADATA
from monitor.store.schema import SCHEMA_VERSION
from tests.store.events import run_started, trio
from tests.store.processes import run_python, start_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Server

PASSWORD = "hunter2/with:odd@signs%"
QUOTED = "hunter2%2Fwith%3Aodd%40signs%25"


@pytest.fixture
def empty(server: Server) -> Iterator[str]:
    """The name of a database with nothing in it."""
    with server.database(empty=True) as name:
        yield name


def of_the_record(_: object, name: str | None, *__: object) -> bool:
    """Whether a table or index is of the record, and not of the index of the search, which is made of it."""
    return not str(name).startswith("search_")


def test_migrations_make_the_tables_that_the_code_reads(server: Server, name: str) -> None:
    engine = sa.create_engine(server.url(name))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "include_object": of_the_record}
        )
        difference = compare_metadata(context, METADATA)
    engine.dispose()
    assert difference == []


def test_an_empty_database_is_set_up_once_by_many_who_open_it(server: Server, empty: str) -> None:
    script = """
import sys
from monitor.store import Store
from tests.store.events import run_started
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    store.append_sync(run_started())
"""
    openers = [start_python(script, server.url(empty)) for _ in range(4)]
    assert [opener.communicate("go\n", timeout=120)[1] for opener in openers] == [""] * 4
    with Store.open(server.url(empty), create=False) as store:
        assert (store.schema_version(), len(store.runs())) == (SCHEMA_VERSION, 4)


def test_an_empty_database_is_only_set_up_when_that_is_wanted(server: Server, empty: str) -> None:
    with pytest.raises(StoreUnavailableError, match="no store here yet"):
        Store.open(server.url(empty), create=False)
    facts = inspect(server.url(empty))
    assert (facts.exists, facts.writable, facts.schema_version, facts.problem) == (False, True, None, "")
    assert server.execute("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace", database=empty) == []


def test_alembic_is_loaded_only_to_migrate(server: Server, empty: str) -> None:
    script = (
        "import sys\nfrom monitor.store import Store\nStore.open(sys.argv[1]).runs()\nprint('alembic' in sys.modules)"
    )
    assert run_python(script, server.url(empty)) == "True\n"
    assert run_python(script, server.url(empty)) == "False\n"


@pytest.mark.parametrize(
    "theirs", ["CREATE TABLE events (id integer)", "CREATE TABLE alembic_version (version_num text)"]
)
def test_a_database_of_another_program_is_left_alone(server: Server, empty: str, theirs: str) -> None:
    server.execute(theirs, database=empty)
    url = server.url(empty)
    with pytest.raises(StoreFormatError, match="some other program's"):
        Store.open(url)
    assert "some other program's" in inspect(url).problem
    (tables,) = server.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'", database=empty
    )
    assert tables == (1,)


def test_an_older_schema_is_upgraded_on_request_and_a_newer_one_left_alone(server: Server, empty: str) -> None:
    url = server.url(empty)
    locate(url).upgrade(target="0001")
    with pytest.raises(StoreFormatError, match=r"older monitor \(schema 1.*monitor db upgrade"):
        Store.open(url)
    assert inspect(url).schema_version == 1
    locate(url).upgrade()
    with Store.open(url) as store:
        assert store.schema_version() == SCHEMA_VERSION
    server.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0099'", database=empty)
    with pytest.raises(StoreFormatError, match=r"newer monitor \(schema 99"):
        Store.open(url)
    assert "newer" in inspect(url).problem
    with pytest.raises(StoreFormatError, match="newer"):
        locate(url).upgrade()


def test_a_database_that_cannot_hold_every_text_is_refused(server: Server) -> None:
    server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(StoreFormatError, match="UTF8, found LATIN1"):
            Store.open(server.url("latin"))
    finally:
        server.execute("DROP DATABASE latin")


def test_what_is_not_there_is_said(server: Server, name: str) -> None:
    for url in (
        server.url("nosuch"),
        server.url(name, port=1),
        server.url(name, username="nobody_of_that_name"),
        server.url(name, host="host.invalid"),
    ):
        if "invalid" not in url:  # the network guard would see the look-up
            with pytest.raises(StoreUnavailableError, match="is the server running"):
                Store.open(url, busy_seconds=0.5)
            assert "is the server running" in inspect(url).problem
    for url in ("postgresql://host", "postgresql+psycopg://", "postgresql://[::1/x", "postgresql://h:port/x"):
        with pytest.raises(ConfigError):
            locate(url)


def test_the_way_into_a_server_is_nobody_elses_to_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tools of untrusted roles are kept away from these files, as from the file of a store."""
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    named = files_of("postgresql://host/db?sslkey=/keys/a%20key.pem&x=1")
    home = Path.home()
    assert named == (tmp_path / "passwords", Path("/keys/a key.pem"), home / ".pg_service.conf")


def test_without_its_driver_the_command_that_installs_it_is_named() -> None:
    script = """
import sys
sys.modules["psycopg"] = None
from monitor.errors import MissingExtraError
from monitor.store import Store, inspect
try:
    Store.open("postgresql://ann:secret@host/db")
except MissingExtraError as exc:
    print(exc)
print(inspect("postgresql://ann:secret@host/db").problem)
"""
    said = run_python(script)
    assert said.count('pip install "factored-monitor[postgres]"') == 2
    assert "secret" not in said


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_every_usual_name_of_the_scheme_is_taken(server: Server, name: str, scheme: str) -> None:
    with Store.open(f"{scheme}://{server.url(name).partition('://')[2]}") as store:
        store.append_sync(run_started())
        assert store.path is None


def test_commits_are_durable_whatever_the_default_is(server: Server, name: str) -> None:
    server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    server.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    with Store.open(server.url(name)) as store:
        run = run_started()
        store.append_sync(run, *trio(run.run_id))
        settings = server.execute("SHOW synchronous_commit", database=name)
        ledger = locate(server.url(name)).connect()
        own = getattr(ledger, "_connection").execute("SHOW synchronous_commit").fetchone()  # noqa: B009 - what it is set to
        ledger.close()
    assert (settings, own) == ([("off",)], ("on",))


def test_a_role_that_may_only_read(server: Server, name: str) -> None:
    with Store.open(server.url(name)) as store:
        store.append_sync(run_started())
        store.sequence()
    server.execute("DROP ROLE IF EXISTS auditor")
    server.execute("CREATE ROLE auditor LOGIN")
    server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor", database=name)
    url = server.url(name, username="auditor")
    try:
        facts = inspect(url)
        assert (facts.exists, facts.writable, facts.pending_leaves) == (True, False, 0)
        assert "may not write" in facts.problem
        with Store.open(url) as store:
            assert len(store.runs()) == 1
            with pytest.raises(StoreUnavailableError, match="must be allowed to write"):
                store.append_sync(run_started())
    finally:
        server.execute("DROP OWNED BY auditor", database=name)
        server.execute("DROP ROLE auditor")


def test_a_role_with_the_documented_rights_writes_and_changes_nothing(server: Server, name: str) -> None:
    """The rights that docs/sharing.md names are enough, and do not let a writer take anything away."""
    from tests.docs.pages import ROOT

    page = (ROOT / "docs" / "sharing.md").read_text(encoding="utf-8")
    grants = page.partition("```text\nCREATE ROLE")[2].partition("```")[0]
    script = f"CREATE ROLE{grants}".replace("DATABASE monitor ", f"DATABASE {name} ")
    try:
        for statement in script.split(";"):
            if statement.strip():
                server.execute(statement, database=name)
        with Store.open(server.url(name, username="agents")) as store:
            run = run_started()
            store.append_sync(run, *trio(run.run_id))
            store.sequence()
            assert [event.leaf_index for event in store.events(run.run_id)] == [0, 1, 2, 3]
        writing = ["--db", server.url(name, username="agents")]
        reading = ["--db", server.url(name, username="auditors")]
        assert main(["audit", "search", "task", *writing]) == 0
        assert main(["audit", "rescan", "--policy", "core", *writing]) == 0
        with Store.open(writing[1]) as store:
            assert make(store, Signer.generate("test.example/rights")).is_new
        for asked in (
            ["search", "task"],
            ["query", "SELECT * FROM scan_findings"],
            ["scans"],
            ["verify"],
            ["tree", "latest"],
        ):
            assert main(["audit", *asked, *reading]) == (9 if asked == ["verify"] else 0), asked  # its run has no end
        with Store.open(server.url(name, username="auditors")) as store:
            assert len(store.runs()) == 1
            with pytest.raises(StoreError):
                store.append_sync(run_started())
        for forbidden in ("UPDATE texts SET body = NULL", "DELETE FROM events", "TRUNCATE events"):
            with pytest.raises(Exception, match="permission denied"):
                server.execute(f"SET ROLE agents; {forbidden}", database=name)
    finally:
        for role in ("agents", "auditors"):
            server.execute(f"DROP OWNED BY {role}", database=name)
            server.execute(f"DROP ROLE {role}")


# ---------------------------------------------------------------------------------------------------------- passwords


def test_a_password_in_the_url_is_shown_nowhere(
    server: Server,
    name: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not in the store, a log, an error, a result, what a command prints or a process's arguments."""
    caplog.set_level(logging.DEBUG)
    url = server.url(name, password=PASSWORD)
    assert QUOTED in url or PASSWORD in url
    result = monitor.run_sync(
        "answer", "x", db=url, model=ScriptedModel(['{"reasoning": "because it is", "answer": "y"}']), policies=[]
    )
    shown = [result.db, repr(result), repr(Settings(db=url)), repr(inspect(url)), repr(parse_address(url))]
    with Store.open(url) as store:
        shown += [store.url, repr(store)]
    wrong = server.url("nosuch", password=PASSWORD)
    secret_file = server.url(name).partition("://")[2]
    for bad in (
        wrong,
        f"{url}?sslmode=nonsense",
        f"{url}?nonsense=1",
        f"postgresql://u:{PASSWORD}",
        f"mysql://u:{QUOTED}@h/d",
    ):
        with pytest.raises((StoreError, ConfigError)) as failure:
            Store.open(bad, busy_seconds=0.5)
        shown += [str(failure.value), repr(failure.value.__cause__), inspect(bad).problem, inspect(bad).url]
    monkeypatch.setenv("MONITOR_MODEL", "scripted:nothing.yaml")
    for command in (
        ["run", "answer", "x", "--db", wrong],
        ["list", "--db", url],
        ["list", "--db", wrong, "--json"],
        ["show", "latest", "--db", url],
        ["doctor", "--db", url, "--json"],
        ["doctor", "--db", wrong],
        ["db", "status", "--db", url, "--json"],
        ["db", "status", "--db", wrong],
        ["db", "upgrade", "--db", url],
        ["db", "copy", url, wrong],
        ["db", "copy", url, f"postgresql://{secret_file}?password={QUOTED}", "--json"],
        ["pending", "--db", url],
    ):
        main(command)
        shown += capsys.readouterr()
    shown += [record.getMessage() for record in caplog.records]
    for table in ("events", "texts", "message_nodes"):
        shown.append(str(server.execute(f"SELECT * FROM {table}", database=name)))
    leaked = [text for text in shown if "hunter2" in text]
    assert leaked == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@host:5432/db", "postgresql://ann:***@host:5432/db"),
        (
            "postgresql+psycopg://ann:se@cr/et@host/db?sslmode=require",
            "postgresql+psycopg://ann:***@host/db?sslmode=require",
        ),
        ("postgresql://host/db?user=ann&password=secret&x=1", "postgresql://host/db?user=ann&password=***&x=1"),
        ("postgresql://ann@host/db", "postgresql://ann@host/db"),
        ("postgresql+psycopg:///db?host=/run/postgresql", "postgresql+psycopg:///db?host=/run/postgresql"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
        ("a:b@c.db", "a:b@c.db"),
        ("postgresql://ann:secret", "postgresql://ann:***"),
        ("postgresql://[::1]/db", "postgresql://[::1]/db"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert without_password(url) == shown
