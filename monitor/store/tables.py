"""The tables, as SQLModel classes. Rows are only ever added; the database's own triggers refuse anything else.

``events`` is the truth and the log at once: a row's primary key is its leaf's place in the Merkle tree. The views
``runs``, ``subcalls``, ``findings``, ``reviews`` and others (made in the migrations) show people the current state.
"""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import Index, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

RUN_KINDS = "kind IN ('run_started', 'run_resumed', 'run_queued', 'run_suspended', 'run_ended')"
"""SQL for "an event of the run itself". SQLite uses the partial index only where a query has these very words."""

DECISIONS = "kind = 'decided'"
"""SQL for "a decision", with a partial index of its own, as above."""

REVIEWS = "kind = 'reviewed'"
"""SQL for "a review", with a partial index of its own, as above."""


class EventRow(SQLModel, table=True):
    """One immutable step of a run or of a subcall, and one leaf of the Merkle log.

    ``leaf_index`` counts from 0 without gaps. ``canonical`` is the RFC 8785 text of the event; ``leaf_hash`` is
    SHA-256(0x00 || canonical), as RFC 9162 hashes a leaf, in hex. ``seq`` is the step's place in its subcall (started 0,
    observed 1, judged 2, decided 3 and up; parts of a stream that were released before it was observed, of which there can
    be any number, -1 and down) or in its run (counting from 0); a review is 0 under a span of its own.
    """

    __tablename__ = "events"
    __table_args__: ClassVar = (
        UniqueConstraint("run_id", "span_id", "seq"),
        Index("events_of_runs", "run_id", "leaf_index", sqlite_where=text(RUN_KINDS), postgresql_where=text(RUN_KINDS)),
        Index("events_of_reviews", "run_id", "leaf_index", sqlite_where=text(REVIEWS), postgresql_where=text(REVIEWS)),
        Index(
            "events_of_decisions",
            "run_id",
            "leaf_index",
            sqlite_where=text(DECISIONS),
            postgresql_where=text(DECISIONS),
        ),
    )

    leaf_index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    run_id: str = Field(sa_type=Text)
    span_id: str = Field(sa_type=Text)
    seq: int
    kind: str = Field(sa_type=Text)
    at: str = Field(sa_type=Text)
    canonical: str = Field(sa_type=Text)
    leaf_hash: str = Field(sa_type=Text)


class TextRow(SQLModel, table=True):
    """One text, stored once by content. ``commitment`` is HMAC-SHA256(salt, UTF-8 of body) in hex, all that events hold.

    Redaction sets ``sha256``, ``salt`` and ``body`` to NULL: the commitment that stays says nothing about the text.
    """

    __tablename__ = "texts"
    __table_args__: ClassVar = (UniqueConstraint("sha256"),)

    commitment: str = Field(primary_key=True, sa_type=Text)
    sha256: str | None = Field(default=None, sa_type=Text)
    salt: bytes | None = Field(default=None, sa_type=LargeBinary)
    body: str | None = Field(default=None, sa_type=Text)


class MessageNodeRow(SQLModel, table=True):
    """One message of a history, chained to the one before it, so that a history that grows is stored once per message.

    ``payload`` is the canonical text of ``{"message": …, "parent": parent_hash, "v": 1}``; ``node_hash`` is its SHA-256 in
    hex. An event names the last message's node, and so commits to the whole history.
    """

    __tablename__ = "message_nodes"
    __table_args__: ClassVar = {"sqlite_with_rowid": False}

    node_hash: str = Field(primary_key=True, sa_type=Text)
    parent_hash: str | None = Field(default=None, sa_type=Text, foreign_key="message_nodes.node_hash")
    payload: str = Field(sa_type=Text)


class CheckpointRow(SQLModel, table=True):
    """One signed checkpoint over the Merkle log, as it was made. ``number`` counts from 0 without gaps.

    ``note`` is the signed note, and all that counts; ``tree_size``, ``root`` (hex) and ``origin`` repeat what it says.
    ``peaks`` are the roots of the complete subtrees at that size, from which the next checkpoint goes on.
    """

    __tablename__ = "checkpoints"

    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    tree_size: int
    root: str = Field(sa_type=Text)
    origin: str = Field(sa_type=Text)
    note: str = Field(sa_type=Text)
    peaks: bytes = Field(sa_type=LargeBinary)
    at: str = Field(sa_type=Text)
