"""Runs whose subcalls overlap, several runs at the same time, through the real door with rules over a run."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from monitor.loaded import load_checks
from monitor.pipeline import Pipeline
from monitor.records import Call, Event, Observation, Outcome, RunStart, Status, Usage, new_run_id, new_span_id, now
from tests.orchestrate.over_run import PACK

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.records import Finding
    from monitor.store import Store

ROLES = ("clerk", "scout")
WORDS = ("SECRET", "NETWORK", "plain", "plain", "plain")


def write_pack(folder: Path) -> Path:
    """The rules, in a file."""
    path = folder / "over_run.yaml"
    path.write_text(PACK.replace("ACTION", "flag"), "utf-8")
    return path


def live(store: Store, pack: Path, *, runs: int = 3, subcalls: int = 14, seed: int = 8) -> list[str]:
    """Let runs go at the same time, each with up to three subcalls at once; returns their ids."""
    chance = random.Random(seed)
    return asyncio.run(_all(store, pack, runs, subcalls, chance))


async def _all(store: Store, pack: Path, runs: int, subcalls: int, chance: random.Random) -> list[str]:
    loaded = load_checks([str(pack)])
    return list(await asyncio.gather(*(_run(store, Pipeline(store, loaded), subcalls, chance) for _ in range(runs))))


async def _run(store: Store, door: Pipeline, subcalls: int, chance: random.Random) -> str:
    run_id, root = new_run_id(), new_span_id()
    start = RunStart(run_id=run_id, span_id=root, recipe="answer", task="t", model="m", at=now())
    await store.append(Event.of(run_id, root, start))
    gate = asyncio.Semaphore(3)

    async def one(number: int) -> None:
        word, turns, role = chance.choice(WORDS), chance.randrange(12), chance.choice(ROLES)

        async def work() -> Observation:
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            return Observation(
                outcome=Outcome.OK, output=f"{word} {number}", usage=Usage(output_tokens=number), at=now()
            )

        async with gate:
            checked = number % 6 != 5
            call = Call(run_id=run_id, span_id=new_span_id(), key="k", role=role, task="t", checked=checked, at=now())
            await door.observe(call, work)

    await asyncio.gather(*(one(number) for number in range(subcalls)))
    return run_id


def recorded(store: Store) -> dict[tuple[str, str], list[Finding]]:
    """What the rules said of each subcall when the runs went, but for what did not match."""
    said = {}
    for run in store.runs():
        for one in store.subcalls(run.start.run_id):
            findings = one.judgement.findings if one.judgement else ()
            said[one.call.run_id, one.call.span_id] = [
                finding for finding in findings if finding.check == "rule" and finding.status is not Status.NO_MATCH
            ]
    return said
