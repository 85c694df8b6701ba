r"""Re-checking stored transcripts: `monitor audit rescan` beside Inspect Scout and beside a bare loop that only counts.

    python bench/rescan.py DATA [--scout PYTHON] [--transcripts N] [--rounds N] [--work FOLDER]

DATA is a folder with ``traces/`` and ``steps/``, whose files are the real text. PYTHON is an interpreter in whose
environment ``inspect-scout`` and ``google-re2`` are installed; without it there is no Scout.

A transcript is seven messages, each a stretch of 200 to 1,500 codepoints of the real text cut at a random place (seed 0);
no two of all messages are the same. For the monitor it is one subcall (six messages handed over, the seventh its answer),
for Scout a transcript in its own Parquet database. The pattern is one regular expression over every message, matched by RE2
in all three. Each must find it in the same number of transcripts, or the script fails.

**monitor** stores a result for each transcript, durably, and can be interrupted and go on; so does **Scout** (one process).
**bare** reads every text of the same SQLite file in the order in which it lies there, matches the pattern and counts.
**len** adds up the lengths of the same texts. Each is a process of its own in each round, from a cold start, and they take
turns. Times are processor seconds of the process and its children, of the whole command and of the scan alone (the whole
less that of the same command over nothing); memory is the largest resident set. Then: memory and time of 2,000 to 20,000
transcripts, and two workers against one: by the clock, and what processor time they take besides.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.records import (
    Call,
    Event,
    Judgement,
    Message,
    Observation,
    Outcome,
    RunStart,
    Verdict,
    VerdictValue,
    new_run_id,
    new_span_id,
    now,
)
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

PATTERN = r"(?i)\b(cannot|could not|unable to|failed to)\b.{0,60}\b(find|open|access|answer|complete)\b"
ROLES = ("system", "user", "assistant", "user", "assistant", "user", "assistant")
PACK = f"""
pack: bench
version: 1.0.0
description: One regular expression.
rules:
  - title: It could not
    id: 2c0fb6a1-6d0e-4a55-9f2b-000000000001
    name: could_not
    level: low
    action: flag
    detection:
      handed:
        prompt|re: '{PATTERN}'
      answered:
        output|re: '{PATTERN}'
      condition: handed or answered
    tests:
      - record: {{output: I could not find it}}
        expect: match
"""
BARE = """
import sys
import pysqlite3, re2
from monitor.policy.matching import compile_pattern
found = compile_pattern(sys.argv[2]).search
rows = pysqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("SELECT body FROM texts")
print(sum(1 for (body,) in rows if found(body)))
"""
LENGTHS = """
import sys
import pysqlite3
rows = pysqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("SELECT body FROM texts")
print(sum(len(body) for (body,) in rows))
"""
SCOUT_WRITE = """
import asyncio, json, sys
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from inspect_scout import Transcript, transcripts_db
kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
def transcripts():
    for number, line in enumerate(open(sys.argv[1], encoding="utf-8")):
        messages = [kinds[role](content=text) for role, text in json.loads(line)]
        yield Transcript(transcript_id=f"t{number}", source_type="bench", message_count=len(messages), messages=messages)
async def main():
    async with transcripts_db(sys.argv[2]) as db:
        await db.insert(transcripts())
asyncio.run(main())
"""
SCOUT_SCAN = """
import sys
import re2
from inspect_scout import Result, Scanner, Transcript, scan, scanner, transcripts_from
options = re2.Options()
options.never_capture = True
pattern = re2.compile(sys.argv[3], options)
@scanner(messages="all")
def could_not() -> Scanner[Transcript]:
    async def check(transcript: Transcript) -> Result:
        return Result(value=any(pattern.search(message.text) for message in transcript.messages))
    return check
if __name__ == "__main__":
    status = scan([could_not()], transcripts=transcripts_from(sys.argv[1]), scans=sys.argv[2], max_processes=1,
                  display="none", log_level="error")
    assert status.complete, status
    from inspect_scout import scan_results_df
    print(int(scan_results_df(status.location).scanners["could_not"]["value"].astype(bool).sum()))
"""


class Cost(NamedTuple):
    """What a process cost: processor seconds, seconds by the clock, and MiB at most."""

    cpu: float
    clock: float
    memory: float
    out: str


def main() -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scout", metavar="PYTHON", help="an interpreter that has inspect-scout")
    parser.add_argument("--transcripts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("rescan-bench"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    (given.work / "bench.yaml").write_text(PACK, encoding="utf-8")
    print(f"load when it began: {', '.join(f'{one:.1f}' for one in os.getloadavg())}\n")
    beside(given)
    growing(given)
    workers(given)
    print(f"\nload when it ended: {', '.join(f'{one:.1f}' for one in os.getloadavg())}")


# ------------------------------------------------------------------------------------------------------------ measures


def beside(given: argparse.Namespace) -> None:
    """The monitor, the bare loop, and Scout."""
    count = given.transcripts
    db = made(given, count)
    start = ours(given, made(given, 0), 1)
    rounds: dict[str, list[Cost]] = {"monitor": [], "bare": [], "len": [], "scout": []}
    scout = scout_made(given, count) if given.scout else None
    for number in range(given.rounds):
        rounds["monitor"].append(ours(given, db, 1))
        rounds["bare"].append(run(sys.executable, "-c", BARE, str(db), PATTERN))
        rounds["len"].append(run(sys.executable, "-c", LENGTHS, str(db)))
        if scout and number == 0:  # it takes minutes
            scans = given.work / f"scout-scans-{count}-{os.getpid()}"
            rounds["scout"].append(run(given.scout, str(script(given, SCOUT_SCAN)), str(scout), str(scans), PATTERN))
    flagged = {json.loads(cost.out)["verdicts"]["flag"] for cost in rounds["monitor"]}
    assert flagged == {int(cost.out) for cost in [*rounds["scout"][:1]]} or not scout, (flagged, rounds["scout"][0].out)
    print(
        f"{count:,} transcripts, {next(iter(flagged)):,} of them with the pattern; start of the command {start.cpu:.2f} s\n"
    )
    print("| | processor s | a second | by the clock s | MiB |\n|---|---|---|---|---|")
    for name, costs in rounds.items():
        if costs:
            cpu = statistics.median(cost.cpu for cost in costs)
            clock, memory = min(cost.clock for cost in costs), max(cost.memory for cost in costs)
            shown = (
                f"{memory:.0f}" if name in {"monitor", "scout"} else ""
            )  # the others are smaller than what began them
            print(f"| {name} | {cpu:.2f} | {count / cpu:,.0f} | {clock:.2f} | {shown} |")
    for name in ("bare", "len"):
        ratios = [
            other.cpu / (mine.cpu - start.cpu) for mine, other in zip(rounds["monitor"], rounds[name], strict=True)
        ]
        print(f"\nmonitor's scan runs at {spread(ratios)} of the speed of {name}", end="")
    if scout:
        ratio = rounds["scout"][0].cpu / statistics.median(cost.cpu for cost in rounds["monitor"])
        print(f"\nmonitor is {ratio:.0f} times as fast as Scout, both from a cold start", end="")
    print("\n")


def growing(given: argparse.Namespace) -> None:
    """Memory and time as transcripts grow."""
    print("| transcripts | processor s | MiB |\n|---|---|---|")
    for count in (2_000, 5_000, 10_000, 20_000):
        costs = [ours(given, made(given, count), 1) for _ in range(2)]
        print(f"| {count:,} | {min(cost.cpu for cost in costs):.2f} | {max(cost.memory for cost in costs):.0f} |")


def workers(given: argparse.Namespace) -> None:
    """Two workers against one, both in processes of their own, by the clock."""
    db = made(given, 20_000)
    pairs = [(ours(given, db, 1), ours(given, db, 2)) for _ in range(given.rounds)]
    clock = spread([one.clock / two.clock / 2 for one, two in pairs])
    cpu = spread([one.cpu / two.cpu for one, two in pairs])
    print(f"\nefficiency of two workers against one, 20,000 transcripts: {clock} by the clock; processor time {cpu}")


def spread(values: list[float]) -> str:
    """The median with the smallest and the largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def ours(given: argparse.Namespace, db: Path, count: int) -> Cost:
    """One scan into a store of its own."""
    out = given.work / f"results-{os.getpid()}.db"
    for path in given.work.glob(f"{out.name}*"):
        path.unlink()
    command = ["-m", "monitor", "audit", "rescan", "--db", str(db), "--policy", str(given.work / "bench.yaml")]
    return run(sys.executable, *command, "--out", str(out), "--workers", str(count), "--json")


def run(*command: str) -> Cost:
    """Run a process to its end. Its processor time is its own and that of its children."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        out = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - begin, used.ru_maxrss / 1024, out)


# ------------------------------------------------------------------------------------------------------------ material


def texts(data: Path, count: int) -> Iterator[list[tuple[str, str]]]:
    """The messages of each transcript."""
    found = sorted(
        [*(data / "traces").rglob("*.json"), *(data / "traces").rglob("*.traj"), *data.glob("steps/*.jsonl")]
    )
    whole = "".join(path.read_text(encoding="utf-8", errors="replace") for path in found).replace("\\n", "\n")
    whole = whole.replace("\0", "").replace("␛", "")
    chance, seen = random.Random(0), set()
    for _ in range(count):
        transcript = []
        for role in ROLES:
            while True:
                length = chance.randint(200, 1_500)
                start = chance.randrange(len(whole) - length)
                if (start, length) not in seen:
                    break
            seen.add((start, length))
            transcript.append((role, f"{len(seen)} {whole[start : start + length]}"))
        yield transcript


def made(given: argparse.Namespace, count: int) -> Path:
    """The monitor's store of that many transcripts, made where it is not there."""
    path: Path = given.work / f"store-{count}.db"
    if path.exists():
        return path
    with Store.open(str(path)) as store:
        waiting: list[Event] = []
        for transcript in texts(given.data, count):
            run_id, root = new_run_id(), new_span_id()
            messages = tuple(Message(role=role, content=text) for role, text in transcript[:-1])
            call = Call(run_id=run_id, span_id=new_span_id(), key="k", role="agent", messages=messages, at=now())
            payloads: list[Any] = [
                call,
                Observation(outcome=Outcome.OK, output=transcript[-1][1], at=now()),
                Judgement(verdict=Verdict(value=VerdictValue.UNMEASURED), outcome=Outcome.OK, at=now()),
            ]
            start = RunStart(run_id=run_id, span_id=root, recipe="answer", task="t", model="m", at=now())
            waiting += [Event.of(run_id, root, start), *(Event.of(run_id, call.span_id, one) for one in payloads)]
            if len(waiting) >= 2_000:
                store.append_sync(*waiting)
                waiting = []
        if waiting:
            store.append_sync(*waiting)
    return path


def scout_made(given: argparse.Namespace, count: int) -> Path:
    """Scout's database of the same transcripts, made where it is not there."""
    folder: Path = given.work / f"scout-{count}"
    if not folder.exists():
        lines = given.work / f"transcripts-{count}.jsonl"
        with lines.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(transcript) + "\n" for transcript in texts(given.data, count))
        run(given.scout, str(script(given, SCOUT_WRITE)), str(lines), str(folder))
    return folder


def script(given: argparse.Namespace, text: str) -> Path:
    """A script in a file, as Scout wants its scanners."""
    path: Path = given.work / ("scout_scan.py" if "scanner" in text else "scout_write.py")
    path.write_text(text, encoding="utf-8")
    return path


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
