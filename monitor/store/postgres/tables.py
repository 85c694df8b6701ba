"""The tables of a PostgreSQL store, as far as they differ from those of a SQLite file: events, leaves, pending leaves.

``texts`` and ``message_nodes`` are the same in both: see ``monitor.store.tables``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    nulls_first,
    nulls_last,
    select,
    text,
)

from monitor.store.backend import Log
from monitor.store.scans import TABLES
from monitor.store.tables import DECISIONS, REVIEWS, RUN_KINDS, MessageNodeRow, TextRow

METADATA = MetaData()
_KEY = Text(collation="C")  # ids are compared byte by byte, whatever the database's collation

events = Table(
    "events",
    METADATA,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", _KEY, nullable=False),
    Column("span_id", _KEY, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", _KEY, nullable=False),
    Column("at", Text, nullable=False),
    Column("canonical", Text, nullable=False),
    Column("leaf_hash", _KEY, nullable=False),
    UniqueConstraint("run_id", "span_id", "seq"),
    Index("events_of_runs", "run_id", "position", postgresql_where=text(RUN_KINDS)),
    Index("events_of_reviews", "run_id", "position", postgresql_where=text(REVIEWS)),
    Index("events_of_decisions", "run_id", "position", postgresql_where=text(DECISIONS)),
    Index("events_one_start", "run_id", unique=True, postgresql_where=text("kind = 'run_started'")),
)
"""One row for each event. ``position`` is the order of insertion, which is not the order of commits."""

leaves = Table(
    "leaves",
    METADATA,
    Column("leaf_index", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", _KEY, nullable=False),
    Column("span_id", _KEY, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("leaf_hash", _KEY, nullable=False),
    UniqueConstraint("run_id", "span_id", "seq"),
)
"""The Merkle log: the sequencer adds a row for each committed event, ``leaf_index`` from 0 without gaps."""

pending_leaves = Table(
    "pending_leaves", METADATA, Column("position", BigInteger, primary_key=True, autoincrement=False)
)
"""Events without a leaf. A trigger adds each event in its own transaction, and the sequencer takes it out again."""

checkpoints = Table(
    "checkpoints",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("tree_size", BigInteger, nullable=False),
    Column("root", _KEY, nullable=False),
    Column("origin", _KEY, nullable=False),
    Column("note", Text, nullable=False),
    Column("peaks", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
)
"""Signed checkpoints: see ``monitor.store.tables``."""

for _row in (TextRow, MessageNodeRow):
    _row.metadata.tables[str(_row.__tablename__)].to_metadata(METADATA)
for _scan_table in TABLES:
    _scan_table.to_metadata(METADATA)

_log = (
    select(leaves.c.leaf_index, events)
    .outerjoin_from(
        events,
        leaves,
        and_(leaves.c.run_id == events.c.run_id, leaves.c.span_id == events.c.span_id, leaves.c.seq == events.c.seq),
    )
    .subquery("log")
)

LOG = Log(
    _log,
    order=(nulls_last(_log.c.leaf_index), _log.c.position),
    newest=(nulls_first(_log.c.leaf_index.desc()), _log.c.position.desc()),
)
"""The events with their leaves; those that have none yet come last, in the order of their insertion."""
