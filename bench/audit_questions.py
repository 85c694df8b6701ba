"""What auditors' questions cost: the index of the search, in the commit or after it, and saved queries on a large store.

    python bench/audit_questions.py [--subcalls 100000] [--turns 400] [--json]

``index``: the three events of a subcall with about 3 KB of text, each in a transaction with ``synchronous=FULL``, in turn
as they are, and with the index of the search made in the same transactions. The figure is the one divided by the other.
``store``: a store of so many subcalls in runs of 100 (no two texts are equal), the index made of it afterwards, then every
saved query, a search, and a question about one run; in seconds, of the whole command without Python's start.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from monitor.audit.saved import saved_queries
from monitor.records import (
    Call,
    Event,
    Finding,
    Judgement,
    Message,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    RunStart,
    Status,
    Usage,
    Verdict,
    VerdictValue,
    new_run_id,
    new_span_id,
    now,
)
from monitor.store import Store
from monitor.store.asking import QueryLimits, ask
from monitor.store.search.finding import Filters, TextSearch
from monitor.store.search.index import Indexer, SqliteWords
from monitor.store.sqlite.ledger import SqliteLedger

WORDS = [
    f"{a}{b}{c}"
    for a in ("ban", "cor", "del", "fin", "gra", "hol")
    for b in ("i", "o", "e")
    for c in ("ta", "ner", "s", "k")
]
RULES = 12


def text(chance: random.Random, length: int) -> str:
    """A text of about ``length`` characters that no other one is equal to."""
    return " ".join(chance.choices(WORDS, k=length // 6)) + f" {chance.getrandbits(48):x}"


def subcall(chance: random.Random, run_id: str, number: int) -> tuple[Event, Event, Event]:
    """The three events of a subcall."""
    span_id = new_span_id()
    role = ("worker", "judge", "planner")[number % 3]
    messages = (Message(role="system", content=f"You are a {role}."), Message(role="user", content=text(chance, 1500)))
    call = Call(run_id=run_id, span_id=span_id, key=span_id, role=role, trust="trusted" if role == "judge" else "untrusted",
                model="m", task=text(chance, 60), messages=messages, at=now())  # fmt: skip
    seen = Observation(
        outcome=Outcome.OK, output=text(chance, 700),
        reasoning=Reasoning(state=ReasoningState.PLAIN, text=text(chance, 700)),
        usage=Usage(calls=1, input_tokens=400, output_tokens=300, cost=0.001), seconds=1.0, at=now(),
    )  # fmt: skip
    found = tuple(
        Finding(check="rule", name=f"rule_{n}", rule_id=f"id-{n}", rule_hash=f"{n:064x}", pack="house",
                status=Status.MATCH if chance.random() < 0.01 else Status.NO_MATCH) for n in range(RULES)
    )  # fmt: skip
    judged = Judgement(
        findings=found, verdict=Verdict(value=VerdictValue.PASS, applicable=RULES), outcome=Outcome.OK, at=now()
    )
    return Event.of(run_id, span_id, call), Event.of(run_id, span_id, seen), Event.of(run_id, span_id, judged)


def begin(store: Store) -> str:
    """Start a run."""
    run_id, span_id = new_run_id(), new_span_id()
    store.append_sync(
        Event.of(run_id, span_id, RunStart(run_id=run_id, span_id=span_id, recipe="r", task="t", model="m", at=now()))
    )
    return run_id


def cost_of_the_index(folder: Path, turns: int) -> dict[str, float]:
    """Milliseconds of a subcall's three commits, without and with the index, in turn."""
    chance = random.Random(1)
    taken: dict[str, list[float]] = {"plain": [], "indexed": []}
    ledgers: dict[str, Any] = {}
    runs = {}
    for name in taken:
        with Store.open(str(folder / f"{name}.db")) as store:
            runs[name] = begin(store)
        ledgers[name] = SqliteLedger(folder / f"{name}.db")
    execute = ledgers["indexed"]._connection.execute
    indexer = Indexer(execute, SqliteWords(execute), "ON CONFLICT DO NOTHING")
    for turn in range(turns):
        for name in sorted(taken, reverse=bool(turn % 2)):
            events = subcall(chance, runs[name], turn)
            started = time.perf_counter()
            for event in events:
                ledgers[name].begin(patience=1)
                ledgers[name].append([event])
                if name == "indexed":
                    indexer.index(
                        execute(
                            "SELECT leaf_index, run_id, span_id, kind, canonical FROM events "
                            "WHERE leaf_index >= (SELECT next_leaf FROM search_state)"
                        ).fetchall()
                    )
                ledgers[name].commit()
            taken[name].append(1000 * (time.perf_counter() - started))
    plain, indexed = (statistics.median(taken[name][turns // 10 :]) for name in ("plain", "indexed"))
    return {"plain_ms": round(plain, 3), "indexed_ms": round(indexed, 3), "ratio": round(indexed / plain, 2)}


def questions(path: Path, count: int) -> dict[str, Any]:
    """Seconds of everything that is asked of a store with so many subcalls."""
    chance, run_id = random.Random(2), ""
    with Store.open(str(path)) as store:
        for number in range(count):
            if number % 100 == 0:
                run_id = begin(store)
            store.append_sync(*subcall(chance, run_id, number))

    def timed(work: Any) -> tuple[float, Any]:
        started = time.perf_counter()
        answer = work()
        return round(time.perf_counter() - started, 3), answer

    index = TextSearch(str(path))
    made, _ = timed(index.update)
    limits = QueryLimits(seconds=600)
    figures: dict[str, Any] = {"subcalls": count, "bytes": path.stat().st_size, "index_made": made}
    figures["index_per_subcall_ms"] = round(1000 * made / count, 3)
    words = '"banita corones" OR (holek AND finos) NOT gratas'
    figures["search"], found = timed(lambda: index.search(words))
    figures["search_places"] = found.total
    figures["search_in_a_run"], _ = timed(lambda: index.search("banita", Filters(run_id=run_id)))
    figures["one_run"], _ = timed(
        lambda: ask(str(path), "SELECT * FROM messages WHERE run_id = :r", {"r": run_id}, limits=limits)
    )
    figures["saved"] = {
        name: timed(lambda query=query: ask(str(path), query.sql, query.values({}), limits=limits))[0]
        for name, query in saved_queries().items()
    }
    return figures


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--subcalls", type=int, default=100_000)
    options.add_argument("--turns", type=int, default=400)
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = {"load_before": os.getloadavg()[0], "index": cost_of_the_index(folder, asked.turns)}
        result |= {"store": questions(folder / "large.db", asked.subcalls), "load_after": os.getloadavg()[0]}
    print(json.dumps(result, indent=None if asked.json else 2))


if __name__ == "__main__":
    main()
