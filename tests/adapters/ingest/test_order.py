"""The order in which a trace's subcalls stand in the log, which rules over a run go by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor.records import Status
from tests.adapters.ingest.conftest import DATA, DRONE, TRAJECTORY
from tests.orchestrate.over_run import PACK, matches, replayed, said_of

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.records import Event
    from tests.adapters.ingest.conftest import Ingesting


class CutError(Exception):
    pass


@pytest.fixture
def pack(tmp_path: Path) -> str:
    """Rules over two answers of a trajectory: of an edit, and of what was tried after it."""
    path = tmp_path / "run.yaml"
    text = PACK.replace("ACTION", "withhold").replace("SECRET", "Text replaced").replace("NETWORK", "'8.2'")
    path.write_text(text, "utf-8")
    return str(path)


def test_the_subcalls_of_a_trace_stand_one_after_the_other(take: Ingesting) -> None:
    take(TRAJECTORY, DRONE, DATA)
    for run in take.runs:
        kinds: list[tuple[str, str]] = [
            (event.kind, event.span_id)
            for event in take.store.events(run.start.run_id)
            if event.kind in {"started", "observed", "judged"}
        ]
        spans = [one.call.span_id for one in take.subcalls(run)]
        assert kinds == [(kind, span) for span in spans for kind in ("started", "observed", "judged")]
        began = [one.call.at for one in take.subcalls(run)]
        assert began == sorted(began)


def test_rules_over_a_run_find_in_a_trace_what_they_find_in_its_log(take: Ingesting, pack: str) -> None:
    take(TRAJECTORY, policy=(pack,))
    subcalls = take.subcalls()
    found = matches(subcalls)
    assert [name for _, name in found].count("secret_then_network") == 1
    assert {one.call.span_id: said_of(one) for one in subcalls} == replayed(subcalls, pack)


def test_each_trace_is_followed_by_itself(take: Ingesting, pack: str, tmp_path: Path) -> None:
    """Two conversations, one with the first half and one with the second: taken together they show nothing."""

    def chat(*texts: str) -> dict[str, Any]:
        asked = [{"role": "user", "content": "go on"}, {"role": "assistant", "content": ""}]
        return {"messages": [part | {"content": part["content"] or text} for text in texts for part in asked]}

    folder = tmp_path / "chats"
    folder.mkdir()
    lines = [chat("Text replaced"), chat("8.2"), chat("Text replaced", "8.2")]
    (folder / "chats.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    take(folder, policy=(pack,))
    counts = sorted([name for _, name in matches(take.subcalls(run))].count("secret_then_network") for run in take.runs)
    assert counts == [0, 0, 1]


@pytest.mark.parametrize("stored", [4, 7, 10])
def test_what_is_taken_in_two_goes_is_seen_together(
    take: Ingesting, pack: str, monkeypatch: pytest.MonkeyPatch, stored: int
) -> None:
    submit, left = take.store.submit, stored

    def limited(*events: Event) -> Any:
        nonlocal left
        if len(events) > left:
            raise CutError
        left -= len(events)
        return submit(*events)

    with monkeypatch.context() as patch:
        patch.setattr(take.store, "submit", limited)
        with pytest.raises(CutError):
            take(TRAJECTORY, policy=(pack,))
    assert take.events > 1
    take(TRAJECTORY, policy=(pack,))
    subcalls = take.subcalls()
    assert {one.call.span_id: said_of(one) for one in subcalls} == replayed(subcalls, pack)
    assert Status.MATCH in {finding.status for one in subcalls for finding in said_of(one)}
