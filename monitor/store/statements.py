"""The SQL of a ledger, and what it says of what it wrote."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.store.tables import RUN_KINDS


@dataclass(frozen=True, slots=True)
class Written:
    """A row that an append wrote. Its hash is of the event's random salts too: nobody else's row has the same."""

    run_id: str
    span_id: str
    seq: int
    leaf_hash: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A transaction that a lost connection left behind, and the server's process that executed it.

    ``committing`` tells whether its commit had been sent: then it is not known whether it was committed.
    """

    transaction: str
    process: int
    committing: bool


@dataclass(frozen=True, slots=True)
class Statements:
    """The SQL of a ledger. Each insertion of an event takes the event's columns, then those of its condition."""

    insert_text: str
    find_text: str
    insert_node: str
    if_new_run: str
    if_run: str
    if_step: str
    if_waiting: str
    if_open: str
    next_run_seq: str
    adopt_event: str
    find_event: str
    find_whole_text: str
    erase_text: str
    add_checkpoint: str
    mark: str

    @classmethod
    def of(cls, insert_event: str, mark: str) -> Statements:
        """Make the statements around ``insert_event`` (up to its WHERE); ``mark`` stands for a parameter."""
        is_run = f"kind = 'run_started' AND {RUN_KINDS}"
        there = f"{insert_event} EXISTS (SELECT 1 FROM events WHERE run_id = {mark}"
        columns = ", ".join([mark] * 4)
        return cls(
            insert_text=f"INSERT INTO texts (commitment, sha256, salt, body) VALUES ({columns}) "
            "ON CONFLICT (sha256) DO NOTHING",
            find_text=f"SELECT commitment FROM texts WHERE sha256 = {mark}",
            insert_node="INSERT INTO message_nodes (node_hash, parent_hash, payload) "
            f"VALUES ({mark}, {mark}, {mark}) ON CONFLICT DO NOTHING",
            if_new_run=f"{insert_event} NOT EXISTS (SELECT 1 FROM events WHERE run_id = {mark})",
            if_run=f"{there} AND {is_run})",
            if_step=f"{there} AND span_id = {mark} AND seq = {mark} AND kind = {mark})",
            if_waiting=f"{there} AND span_id = {mark} AND seq = {mark} AND kind IN ('judged', 'decided'))",
            if_open=f"{there} AND span_id = {mark} AND seq = {mark} AND kind IN ('started', 'released')) AND NOT EXISTS ("
            f"SELECT 1 FROM events WHERE run_id = {mark} AND span_id = {mark} AND seq = 1)",
            next_run_seq=f"SELECT max(seq) + 1 FROM events WHERE run_id = {mark} AND span_id = {mark} AND EXISTS ("
            f"SELECT 1 FROM events WHERE run_id = {mark} AND span_id = {mark} AND {is_run})",
            adopt_event=f"{insert_event} 1 = 1",
            find_event=f"SELECT leaf_hash FROM events WHERE run_id = {mark} AND span_id = {mark} AND seq = {mark}",
            find_whole_text=f"SELECT salt, body FROM texts WHERE commitment = {mark}",
            erase_text="UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL "
            f"WHERE commitment = {mark} AND NOT (sha256 IS NULL AND salt IS NULL AND body IS NULL)",
            add_checkpoint="INSERT INTO checkpoints (number, tree_size, root, origin, note, peaks, at) "
            f"SELECT (SELECT coalesce(max(number) + 1, 0) FROM checkpoints), {columns}, {mark}, {mark} "
            f"WHERE NOT EXISTS (SELECT 1 FROM checkpoints WHERE origin = {mark} AND tree_size >= {mark})",
            mark=mark,
        )
