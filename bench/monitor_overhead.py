"""What the monitor adds to a subcall, beside the floor: the same commits made raw.

    python bench/monitor_overhead.py [--subcalls 300] [--rounds 5] [--json]

Three things are timed in turn, round after round, under 1 and under 16 concurrent subcalls:

bare        the model client alone, against a stub server on loopback in a process of its own
monitored   the same requests as subcalls of a run: reserved, stored, checked by 12 rules (the first of the shipped pack),
            judged, released
raw         the bare client again, and around each call the rows and commits that the monitored run made for it, with
            nothing but SQLite: one connection, one transaction per event, ``journal_mode=WAL``, ``synchronous=FULL``
burst       those rows and commits without the calls, one straight after the other: what a disk does that never rests

What the monitor adds is monitored minus bare, and what raw commits add is raw minus bare; the figure is the one divided by
the other. Prompt, reasoning and answer together have about 3 KB. Times are milliseconds per subcall, the median of the
rounds with the least and the most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pysqlite3

import monitor
from monitor.models import resolve
from monitor.models.alias import ModelAlias
from monitor.models.base import ModelRequest, Progress
from monitor.records import Limits, Message, Outcome
from monitor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.models.base import ModelClient

ROOT = Path(__file__).parents[1]
WORDS = "The committee met on Tuesday to look at the figures for the third quarter and found them in good order. "
PAPER = WORDS * 14
ANSWER = f"<think>{WORDS * 7}</think>{WORDS * 7}"
CONCURRENCIES = (1, 16)
RULES = 12
RECIPE = """
async def office(ctx, task, count=1):
    answers = await ctx.map("clerk", [{"task": f"{task} {number:06d}"} for number in range(count)])
    return str(len(answers))
"""
ROLE = "---\nname: clerk\ndescription: a clerk\nmax_output_tokens: 800\ntemperature: 0\n---\nYou read papers.\n"


Commit: TypeAlias = list[tuple[str, tuple[Any, ...]]]
"""The statements of one transaction, with their rows."""


@dataclass(frozen=True)
class Row:
    """The figures of one concurrency, in milliseconds per subcall."""

    concurrent: int
    bare: list[float]
    monitored: list[float]
    raw: list[float]
    burst: list[float]

    @property
    def floor(self) -> list[float]:
        """What the same commits made raw add, round by round."""
        return [with_commits - bare for with_commits, bare in zip(self.raw, self.bare, strict=True)]

    @property
    def added(self) -> list[float]:
        """Monitored minus bare, round by round."""
        return [with_monitor - bare for with_monitor, bare in zip(self.monitored, self.bare, strict=True)]

    @property
    def ratio(self) -> float:
        """What is added, by the same commits made raw."""
        return statistics.median(self.added) / statistics.median(self.floor)


class Bench:
    """One stub server, one folder, and the three things to time."""

    def __init__(self, folder: Path, base_url: str, subcalls: int) -> None:
        self.folder = folder
        self.subcalls = subcalls
        self.alias = {"model": "stub", "base_url": base_url, "input_price": 0.1, "output_price": 0.4}
        (folder / "office.py").write_text(RECIPE)
        (folder / "clerk.md").write_text(ROLE)
        self.pack = folder / "twelve.yaml"
        self.pack.write_text(first_rules(ROOT / "policies/core.yaml", RULES))
        self.number = 0

    def client(self) -> ModelClient:
        """A client for the stub."""
        return resolve.resolve("stub", aliases={"stub": ModelAlias.model_validate(self.alias)})

    def bare(self, concurrent: int, commit: Callable[[], None] = lambda: None) -> float:
        """Milliseconds per call of the client alone; ``commit`` is done once before each call and twice after it."""

        async def all_calls() -> float:
            client = self.client()
            gate = asyncio.Semaphore(concurrent)

            async def one(number: int) -> None:
                messages = (
                    Message(role="system", content="You read papers."),
                    Message(role="user", content=f"{PAPER} {self.number:03d} {number:06d}"),
                )
                async with gate:
                    commit()
                    await client.complete(ModelRequest(messages, 800, temperature=0, seed=1), Progress())
                    commit()
                    commit()

            await one(-1)  # the client is warm, as it is after a run's first call
            began = time.perf_counter()
            await asyncio.gather(*(one(number) for number in range(self.subcalls)))
            took = time.perf_counter() - began
            await client.aclose()
            return took

        return self._per_subcall(asyncio.run(all_calls()))

    def monitored(self, concurrent: int) -> tuple[float, Path]:
        """Milliseconds per subcall of a run, and the database that it left."""
        self.number += 1
        db = self.folder / f"{concurrent}-{self.number}.db"
        marks: list[float] = []

        def mark(event: Any) -> None:
            if event.kind == "run_started" or (event.kind == "judged" and not marks[1:]):
                marks.append(time.perf_counter())  # from the first judged subcall on: the connection is there

        result = monitor.run_sync(
            str(self.folder / "office.py"),
            f"{PAPER} {self.number:03d}",
            settings=Settings(db=str(db), model="stub", models={"stub": self.alias}, policies=[str(self.pack)]),
            options={"count": self.subcalls + 1},
            budget=Limits(calls=self.subcalls + 1, seconds=600),
            concurrency=concurrent,
            listener=mark,
        )
        took = time.perf_counter() - marks[1]
        assert result.outcome is Outcome.OK, result
        assert int(result.answer) == self.subcalls + 1
        return self._per_subcall(took), db

    def raw(self, db: Path, concurrent: int) -> float:
        """Milliseconds per call of the client with the commits of ``db`` made around it by nothing but SQLite."""
        connection, commits = self._raw_store(db)
        left = iter(commits)
        took = self.bare(concurrent, lambda: make(connection, next(left)))
        connection.close()
        return took

    def burst(self, db: Path) -> float:
        """Milliseconds per subcall for the commits of ``db``, one straight after the other."""
        connection, commits = self._raw_store(db)
        began = time.perf_counter()
        for commit in commits:
            make(connection, commit)
        took = time.perf_counter() - began
        connection.close()
        return self._per_subcall(took)

    def _raw_store(self, db: Path) -> tuple[Any, list[Commit]]:
        schema, commits = read_commits(db)
        path = self.folder / f"raw-{self.number}-{time.monotonic_ns()}.db"
        connection = pysqlite3.connect(str(path), isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        for statement in schema:
            connection.execute(statement)
        return connection, commits

    def _per_subcall(self, seconds: float) -> float:
        return seconds * 1000 / self.subcalls


def first_rules(pack: Path, count: int) -> str:
    """The text of a pack, cut off after its first ``count`` rules."""
    lines = pack.read_text().splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if line.startswith("  - title:")]
    return "".join(lines[: starts[count]])


def make(connection: Any, commit: Commit) -> None:
    """Make one commit again."""
    connection.execute("BEGIN IMMEDIATE")
    for statement, row in commit:
        connection.execute(statement, row)
    connection.execute("COMMIT")


def read_commits(db: Path) -> tuple[list[str], list[Commit]]:
    """The schema of a monitored run's database, and its rows in the transactions in which they were first needed."""
    connection = pysqlite3.connect(str(db))
    schema = [
        sql
        for (sql,) in connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type = 'table' DESC"
        )
    ]

    def rows(table: str, key: str) -> tuple[str, dict[Any, tuple[Any, ...]]]:
        cursor = connection.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in cursor.description]
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        return insert, {row[names.index(key)]: row for row in cursor}

    insert_event, events = rows("events", "leaf_index")
    insert_text, texts = rows("texts", "commitment")
    insert_node, nodes = rows("message_nodes", "node_hash")
    canonical_at = [column[1] for column in connection.execute("PRAGMA table_info(events)")].index("canonical")
    payload_at = [column[1] for column in connection.execute("PRAGMA table_info(message_nodes)")].index("payload")
    parent_at = [column[1] for column in connection.execute("PRAGMA table_info(message_nodes)")].index("parent_hash")
    connection.close()
    commits = []
    for _, event in sorted(events.items()):
        needed: list[tuple[str, tuple[Any, ...]]] = []
        found = re.findall(r"[0-9a-f]{64}", event[canonical_at])
        while found:
            name = found.pop()
            if name in nodes:
                node = nodes.pop(name)
                found += re.findall(r"[0-9a-f]{64}", node[payload_at]) + ([node[parent_at]] if node[parent_at] else [])
                needed.insert(0, (insert_node, node))
            elif name in texts:
                needed.insert(0, (insert_text, texts.pop(name)))
        commits.append([*needed, (insert_event, event)])
    assert not nodes
    assert not texts
    return schema, commits


def measure(subcalls: int, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Time all three in turn; ``say`` is told how far it is."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, str(ROOT / "tests/stubs/openai_stub.py"), "--port", "0"]
        server = subprocess.Popen([*command, "--mode", f"say={ANSWER}"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            bench = Bench(Path(name), server.stdout.readline().strip(), subcalls)
            rows = []
            for concurrent in CONCURRENCIES:
                bench.bare(concurrent)
                bench.monitored(concurrent)  # warm: imports, policies, page cache
                row = Row(concurrent, [], [], [], [])
                for number in range(rounds):
                    row.bare.append(bench.bare(concurrent))
                    took, db = bench.monitored(concurrent)
                    row.monitored.append(took)
                    row.raw.append(bench.raw(db, concurrent))
                    row.burst.append(bench.burst(db))
                    say(f"{concurrent} concurrent, round {number + 1} of {rounds}")
                rows.append(row)
            return rows
        finally:
            server.kill()
            server.wait()


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subcalls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = measure(asked.subcalls, asked.rounds, lambda text: print(text, file=sys.stderr))
    if asked.json:
        print(
            json.dumps(
                [{**row.__dict__, "added": row.added, "floor": row.floor, "ratio": row.ratio} for row in rows], indent=2
            )
        )
        return
    print(f"milliseconds per subcall, {asked.subcalls} subcalls, median of {asked.rounds} rounds (least to most)")
    for row in rows:
        print(f"\n{row.concurrent} concurrent")
        print(f"  bare client      {spread(row.bare)}")
        print(f"  monitored        {spread(row.monitored)}")
        print(f"  with raw commits {spread(row.raw)}")
        print(f"  monitor adds     {spread(row.added)}")
        print(f"  raw commits add  {spread(row.floor)}   (in one burst: {statistics.median(row.burst):.2f})")
        print(f"  ratio            {row.ratio:6.2f}")


if __name__ == "__main__":
    main()
