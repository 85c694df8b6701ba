"""What the monitor adds to a subcall, beside the floor: the same commits made raw.

    python bench/monitor_overhead.py [--subcalls 960] [--hot] [--json]

Three things take turns inside one process and one event loop, in an order that changes with every turn, one call at a time
and 16 at a time:

bare        the model client alone, against a stub server on loopback in a process of its own
monitored   the same request as a subcall of a run: reserved, stored, checked by 12 rules (those of the pack ``oversight``),
            judged, released
raw         the bare client again, and around each call the rows and commits that a monitored subcall makes, with nothing
            but SQLite: one connection, one transaction per event, ``journal_mode=WAL``, ``synchronous=FULL``

What the monitor adds is monitored minus bare, and what raw commits add is raw minus bare; the figure is the one divided by
the other. Prompt, reasoning and answer together have about 3 KB.

``--hot``: the model's answer is there at once and the databases are in memory, so that nothing waits for anything and every
cache is warm. What the monitor adds then, less what the raw commits add, is the processor's work alone.
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
from monitor import catalog
from monitor.models import resolve
from monitor.models.alias import ModelAlias
from monitor.models.base import ModelReply, ModelRequest, Progress
from monitor.models.openai_client import OpenAIModel
from monitor.records import Limits, Message, Outcome
from monitor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).parents[1]
WORDS = "The committee met on Tuesday to look at the figures for the third quarter and found them in good order. "
PAPER = WORDS * 14
ANSWER = f"<think>{WORDS * 7}</think>{WORDS * 7}"
CONCURRENCIES = (1, 16)
RULES = 12
RECIPE = """
BENCH = None  # the bench, put here before the run

async def office(ctx, task, count=0):
    await BENCH.rounds(lambda number: ctx.call("clerk", task=f"{task} {number:06d}"), count)
    return "done"
"""
ROLE = "---\nname: clerk\ndescription: a clerk\nmax_output_tokens: 800\ntemperature: 0\n---\nYou read papers.\n"


Commit: TypeAlias = list[tuple[str, tuple[Any, ...]]]
"""The statements of one transaction, with their rows."""


@dataclass(frozen=True)
class Row:
    """The figures of one concurrency: for each round, milliseconds per subcall."""

    concurrent: int
    bare: list[float]
    monitored: list[float]
    raw: list[float]

    @property
    def added(self) -> list[float]:
        """Monitored minus bare, round by round."""
        return [with_monitor - bare for with_monitor, bare in zip(self.monitored, self.bare, strict=True)]

    @property
    def floor(self) -> list[float]:
        """What the same commits made raw add, round by round."""
        return [with_commits - bare for with_commits, bare in zip(self.raw, self.bare, strict=True)]

    @property
    def ratio(self) -> float:
        """What the monitor adds in all rounds together, by what the same commits made raw add in them."""
        return sum(self.added) / sum(self.floor)


class Bench:
    """One stub server, one folder, and the three things to time, which take turns inside one run."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        self.alias = {"model": "stub", "base_url": base_url, "input_price": 0.1, "output_price": 0.4}
        self.recipe = str(folder / "office.py")
        Path(self.recipe).write_text(RECIPE)
        (folder / "clerk.md").write_text(ROLE)
        self.pack = folder / "twelve.yaml"
        self.pack.write_text(first_rules(ROOT / "policies/oversight.yaml", RULES))
        self.concurrent = 1
        self.row = Row(1, [], [], [])
        self.commits: list[Commit] = []

    def measure(self, concurrent: int, turns: int) -> Row:
        """Time ``turns`` turns of ``concurrent`` calls each, three ways in every turn."""
        self.concurrent = concurrent
        self.commits, self.row = [], Row(concurrent, [], [], [])
        schema, self.commits = read_commits(self._run(turns))  # a first run, for the rows; it also warms everything
        self.connection = raw_store(self.folder / f"raw-{concurrent}.db", schema)
        self.row = Row(concurrent, [], [], [])
        self._run(turns)
        self.connection.close()
        return self.row

    def _run(self, turns: int) -> Path:
        catalog.load_recipe(self.recipe).function.__globals__["BENCH"] = self
        db = self.folder / f"{time.monotonic_ns()}.db"
        calls = turns * self.concurrent
        result = monitor.run_sync(
            self.recipe,
            PAPER,
            settings=Settings(db=str(db), model="stub", models={"stub": self.alias}, policies=[str(self.pack)]),
            options={"count": turns},
            budget=Limits(calls=calls, seconds=600),
            concurrency=self.concurrent,
        )
        assert result.outcome is Outcome.OK, result
        assert result.usage.calls == calls
        return db

    async def rounds(self, subcall: Callable[[int], Awaitable[Any]], turns: int) -> None:
        """What the recipe does: subcalls alone to gather rows, then the three in turn, in changing order."""
        client = resolve.resolve("stub", aliases={"stub": ModelAlias.model_validate(self.alias)})
        left = iter(self.commits)

        async def bare(number: int) -> None:
            messages = (
                Message(role="system", content="You read papers."),
                Message(role="user", content=f"{PAPER} {number:06d}"),
            )
            await client.complete(ModelRequest(messages, 800, temperature=0, seed=number, timeout=600), Progress())

        async def raw(number: int) -> None:
            make(self.connection, next(left))
            await bare(number)
            make(self.connection, next(left))
            make(self.connection, next(left))

        ways = [(subcall, self.row.monitored), (bare, self.row.bare), (raw, self.row.raw)]
        for turn in range(turns):
            for shift in range(3 if self.commits else 1):
                way, times = ways[(turn + shift) % 3] if self.commits else ways[0]
                numbers = range(turn * self.concurrent, (turn + 1) * self.concurrent)
                began = time.perf_counter()
                await asyncio.gather(*(way(number) for number in numbers))
                times.append((time.perf_counter() - began) * 1000 / self.concurrent)
        await client.aclose()


def first_rules(pack: Path, count: int) -> str:
    """The text of a pack, cut off after its first ``count`` rules over one subcall."""
    lines = pack.read_text().partition("\nrun_rules:")[0].splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if line.startswith("  - title:")]
    return "".join(lines[: [*starts, len(lines)][count]])


def make(connection: Any, commit: Commit) -> None:
    """Make one commit again."""
    connection.execute("BEGIN IMMEDIATE")
    for statement, row in commit:
        connection.execute(statement, row)
    connection.execute("COMMIT")


def read_commits(db: Path, *, runs: bool = False) -> tuple[list[str], list[Commit]]:
    """The schema of a monitored run's database, and its rows in the transactions in which they were first needed; with
    ``runs`` those of runs' own events, too.
    """
    connection = pysqlite3.connect(str(db))
    schema = [
        sql
        for (sql,) in connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'search_%' "
            "ORDER BY type = 'table' DESC"
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
    kind_at = [column[1] for column in connection.execute("PRAGMA table_info(events)")].index("kind")
    connection.close()
    commits: list[Commit] = []
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
        if runs or not event[kind_at].startswith("run_"):
            commits.append([*needed, (insert_event, event)])
    assert not nodes
    assert not texts
    return schema, commits


def raw_store(path: Path, schema: list[str]) -> Any:
    """A database with the monitor's schema and settings, open with nothing but SQLite."""
    connection = pysqlite3.connect(str(path), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for statement in schema:
        connection.execute(statement)
    return connection


def answer_at_once() -> None:
    """Let the model's client ask once, and return that answer from then on."""
    ask = OpenAIModel.complete
    answers: list[ModelReply] = []

    async def complete(self: OpenAIModel, request: ModelRequest, progress: Progress, **more: Any) -> ModelReply:
        if not answers:
            answers.append(await ask(self, request, progress, **more))
        return answers[0]

    OpenAIModel.complete = complete  # type: ignore[method-assign]  # for this process, which does nothing else


def measure(subcalls: int, say: Callable[[str], None], *, hot: bool = False) -> list[Row]:
    """Measure each concurrency; ``say`` is told how far it is."""
    if hot:
        answer_at_once()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if hot else None) as name:
        command = [sys.executable, str(ROOT / "tests/stubs/openai_stub.py"), "--port", "0"]
        server = subprocess.Popen([*command, "--mode", f"say={ANSWER}"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            bench = Bench(Path(name), server.stdout.readline().strip())
            rows = []
            for concurrent in CONCURRENCIES:
                say(f"{concurrent} at a time")
                rows.append(bench.measure(concurrent, subcalls // concurrent))
            return rows
        finally:
            server.kill()
            server.wait()


def spread(values: list[float]) -> str:
    """Mean, median and the middle half."""
    low, median, high = statistics.quantiles(values, n=4)
    return f"{statistics.fmean(values):6.2f}   median {median:6.2f}, middle half {low:.2f} to {high:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subcalls", type=int, default=960)
    parser.add_argument("--hot", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = measure(asked.subcalls, lambda text: print(text, file=sys.stderr), hot=asked.hot)
    if asked.json:
        print(json.dumps([{**row.__dict__, "ratio": row.ratio} for row in rows], indent=2))
        return
    print(f"milliseconds per subcall, mean of {asked.subcalls} subcalls of each kind in turn")
    for row in rows:
        print(f"\n{row.concurrent} at a time")
        print(f"  bare client      {spread(row.bare)}")
        print(f"  monitored        {spread(row.monitored)}")
        print(f"  with raw commits {spread(row.raw)}")
        print(f"  monitor adds     {spread(row.added)}")
        print(f"  raw commits add  {spread(row.floor)}")
        print(f"  ratio            {row.ratio:6.2f}")


if __name__ == "__main__":
    main()
