"""The engine on Ray Data: the same results as the local one, whoever is killed. Ray runs in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from monitor.audit.rescan.local import KILLED
from monitor.store import Wanted
from tests.audit.over_run import live, write_pack
from tests.audit.rescan.conftest import Bench, fill
from tests.store.processes import ENVIRONMENT, ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'factored-monitor[ray]'"),
]

SCANS = """
import json, os, signal, sys
from dataclasses import fields, replace
from pathlib import Path
from monitor.audit.rescan import on_ray
from monitor.audit.rescan.parquet import ParquetSource
from monitor.store import Wanted
from tests.audit.rescan.conftest import Bench
from tests.audit.rescan.deadly import Deadly

url, folder, file, leaf = sys.argv[1:]
bench = Bench(url, Path(folder))
job = bench.job()
source = {one.name: getattr(job.source, one.name) for one in fields(job.source)}
killed = []

def engine(job, tasks, loaded):
    for done in on_ray.run(job, tasks, workers=2):
        if how == "kill" and not killed:
            killed.append(on_ray.processes[-1])
            os.kill(killed[0], signal.SIGKILL)
        yield done

ray = on_ray.connected(None, 2)
told = {}
for how, source in {
    "kill": job.source,
    "file": ParquetSource.of(Path(file), Wanted()),
    "deadly": Deadly(**source, at=int(leaf), in_any_process=True),
}.items():
    summary = bench.scan(replace(job, source=source), engine, fresh=True)
    told[how] = [summary.scan_id, summary.is_whole, summary.evaluated]
ray.shutdown()
print("result:", json.dumps([told, killed]))
"""


def run(*command: str) -> str:
    environment = {**ENVIRONMENT, "RAY_TMPDIR": "/tmp"}  # a socket's path may only have some hundred characters
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_command_s_results_are_those_of_the_local_engine(bench: Bench) -> None:
    fill(bench.store, 40)
    command = ["-m", "monitor", "audit", "rescan", "--db", bench.url, "--policy", str(bench.hiding())]
    shown = json.loads(run(*command, "--engine", "ray", "--workers", "2", "--json"))
    assert (shown["whole"], shown["evaluated"], shown["statuses"]["done"]) == (True, 40, 40)
    assert bench.rows(shown["scan"]) == bench.rows(bench.scan(fresh=True).scan_id)


def test_killed_workers_lose_and_double_nothing_and_a_deadly_subcall_costs_only_itself(
    bench: Bench, tmp_path: Path
) -> None:
    """One cluster: a worker is killed in mid-scan; an exported file is scanned; a subcall kills every worker."""
    pytest.importorskip("pyarrow")
    from monitor.audit.rescan.parquet import export

    fill(bench.store, 60)
    expected = bench.rows(bench.scan(fresh=True).scan_id)
    export(bench.store, bench.url, tmp_path / "traces.parquet", Wanted())
    file, leaf = str(tmp_path / "traces.parquet"), str(expected[5].leaf_index)
    told, killed = json.loads(run("-c", SCANS, bench.url, str(bench.folder), file, leaf).rpartition("result:")[2])
    assert len(killed) == 1
    for how in ("kill", "file"):
        scan_id, is_whole, evaluated = told[how]
        assert (is_whole, evaluated) == (True, 60), how
        assert bench.rows(scan_id) == expected, how
    scan_id, is_whole, _ = told["deadly"]
    rows = bench.rows(scan_id)
    assert (is_whole, rows[5].status, rows[5].problem) == (False, "failed", KILLED)
    assert rows[:5] + rows[6:] == expected[:5] + expected[6:]


def test_rules_over_a_run_find_the_same_on_ray(bench: Bench) -> None:
    """The bytes of each result, runs of several workers and the evidence in other subcalls among them."""
    pack = write_pack(bench.folder)
    live(bench.store, pack)
    bench.store.sequence()
    here = bench.scan(bench.job(pack), fresh=True)
    command = ["-m", "monitor", "audit", "rescan", "--db", bench.url, "--policy", str(pack), "--fresh"]
    shown = json.loads(run(*command, "--engine", "ray", "--workers", "2", "--json"))
    assert (shown["whole"], shown["evaluated"], shown["scan"] != here.scan_id) == (True, 42, True)
    found = bench.rows(shown["scan"])
    assert found == bench.rows(here.scan_id)
    assert "elsewhere" in "".join(row.findings for row in found)
