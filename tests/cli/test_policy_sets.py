"""Filters, overrides and rules on trial in a run from the command line: what is recorded, shown and said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

PACK = """\
pack: house
version: 1.0.0
rules:
  - title: Deletes
    id: 3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11
    name: deletes
    level: high
    detection: {sel: {output|contains: delete}, condition: sel}
  - title: Says so
    id: 3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b12
    name: says_so
    status: test
    level: critical
    detection: {sel: {output|contains: said}, condition: sel}
"""
FILTERS = """\
filter_set: noise
version: 1.0.0
filters:
  - title: It is known
    id: 0d3f5a8e-0a3c-4a56-8c3f-0a4f3c2d1b10
    name: known
    reason: It was looked at.
    author: R. Reviewer
    date: '2020-01-01'
    expires: '{expires}'
    rules: [deletes]
    detection: {{sel: {{output|contains: scratch}}, condition: sel}}
"""
OVERRIDES = """\
override_set: site
version: 0.1.0
overrides: [{rule: deletes, reason: We look at all of them., level: low}]
"""
SCRIPT = """\
steps:
  - text: {reasoning: I tidy up., answer: I delete the scratch folder and said so.}
"""
FAILING = "steps: [{error: {kind: auth, message: who are you}, times: forever}]"


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A folder with a pack, a script, and a filter that holds for another month."""
    (tmp_path / "house.yaml").write_text(PACK)
    (tmp_path / "script.yaml").write_text(SCRIPT)
    tomorrow = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    (tmp_path / "noise.yaml").write_text(FILTERS.format(expires=tomorrow))
    (tmp_path / "old.yaml").write_text(FILTERS.format(expires="2020-01-02"))
    (tmp_path / "site.yaml").write_text(OVERRIDES)
    return tmp_path


def run(monitor: Monitor, *files: str) -> Result:
    policies = [part for file in files for part in ("--policy", f"./{file}")]
    return monitor("run", "answer", "Tidy up", "--model", "scripted:script.yaml", *policies)


@pytest.mark.usefixtures("office")
def test_a_suppressed_match_is_shown_and_does_not_act(monitor: Monitor) -> None:
    ran = run(monitor, "house.yaml", "noise.yaml")
    assert (ran.code, "ok, verdict pass" in ran.err) == (0, True)
    assert "match deletes (high) (suppressed by known)" in ran.err
    assert "match says_so (critical) (on trial)" in ran.err
    shown = monitor("show", "latest").out
    assert "match: deletes (high, house) (suppressed by known)" in shown
    assert "match: says_so (critical, house) (on trial)" in shown
    stored = monitor("show", "latest", "--json").json
    (one,) = stored["start"]["filters"]
    assert (one["name"], one["filter_set"], one["version"], one["is_expired"]) == ("known", "noise", "1.0.0", False)
    assert [found["suppressed_by"] for found in stored["subcalls"][0]["findings"]] == ["known", ""]


@pytest.mark.usefixtures("office")
def test_an_expired_filter_is_reported_and_the_rule_acts(monitor: Monitor) -> None:
    ran = run(monitor, "house.yaml", "old.yaml")
    said = "the filter known (noise) expired on 2020-01-02: it suppresses nothing"
    assert (ran.code, said in ran.err) == (3, True)
    assert said in monitor("show", "latest").out


@pytest.mark.usefixtures("office")
def test_an_override_is_recorded_with_the_file_that_made_it(monitor: Monitor) -> None:
    assert run(monitor, "house.yaml", "site.yaml").code == 0
    (deletes, says_so) = monitor("show", "latest", "--json").json["start"]["rules"]
    assert (deletes["overridden_by"], says_so["overridden_by"]) == ("site 0.1.0", "")


def test_a_resume_loads_the_same_files_and_records_them(monitor: Monitor, office: Path) -> None:
    (office / "script.yaml").write_text(FAILING)
    assert run(monitor, "house.yaml", "old.yaml").code != 0
    (office / "script.yaml").write_text(SCRIPT)
    resumed = monitor("resume", "latest", "--retry-failed")
    assert (resumed.code, "expired on 2020-01-02" in resumed.err) == (3, True)
    stored = monitor("show", "latest", "--json").json
    assert [[one["name"] for one in part["filters"]] for part in (stored["start"], *stored["resumes"])] == [
        ["known"]
    ] * 2
