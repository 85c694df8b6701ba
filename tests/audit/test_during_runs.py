"""Reviews by somebody else while a run goes, after it failed, and while it is resumed: the run never hears of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import monitor
from monitor.audit.reviews import event_of, make_review
from monitor.models.scripted import Reply, ScriptedModel
from monitor.store import Store
from tests.audit.conftest import rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.models.base import ModelRequest

RECIPE = """
async def many(ctx, task):
    return " ".join([(await ctx.call("clerk", task=f"{task} {number}")).text for number in range(3)])
"""
THOUGHT = "<think>send it</think>fine"


def review_all(db: str, by: str) -> int:
    """Label every match that is stored by now, through a connection of one's own."""
    with Store.open(db) as store:
        found = [
            (item.run_id, item.span_id, finding)
            for item in store.scan()
            if item.subcall and item.subcall.judgement
            for finding in item.subcall.judgement.findings
        ]
        for run_id, span_id, finding in found:
            review = make_review(span_id, finding, "true", why="seen", by=by)
            store.append_sync(event_of(run_id, review))
    return len(found)


def test_a_run_goes_on_under_reviews_fails_and_is_resumed(new_database: Callable[[], str], tmp_path: Path) -> None:
    db = new_database()
    (tmp_path / "clerk.md").write_text("---\nname: clerk\ndescription: a clerk\n---\nAnswer.\n", encoding="utf-8")
    (tmp_path / "many.py").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "pack.yaml").write_text(
        "pack: p\nversion: 1.0.0\ndescription: x\nrules:\n" + rule(1, "reasoning|contains: send"), encoding="utf-8"
    )
    reviewed: list[int] = []

    def answer(request: ModelRequest) -> Reply:
        """Each call finds the calls before it reviewed; the last one fails."""
        reviewed.append(review_all(db, f"person {len(reviewed)}"))
        return Reply(text=THOUGHT) if len(reviewed) < 3 else Reply(error=RuntimeError("broken"))

    failed = monitor.run_sync(
        f"{tmp_path}/many.py",
        "letter",
        model=ScriptedModel(answer, name="scripted"),
        db=db,
        policies=[f"{tmp_path}/pack.yaml"],
    )
    assert (failed.outcome, reviewed[:3]) == ("failed", [0, 1, 2])
    with Store.open(db) as store:
        before = store.run(failed.run_id)
    assert (before.state, before.is_stopped) == ("failed", True)
    assert review_all(db, "after the end") >= 2
    with Store.open(db) as store:
        assert store.run(failed.run_id) == before

    def well(request: ModelRequest) -> Reply:
        review_all(db, "during the resume")
        return Reply(text=THOUGHT)

    model = ScriptedModel(well, name="scripted")
    resumed = monitor.resume_sync(failed.run_id, db=db, model=model, retry_failed=True)
    assert (resumed.outcome, resumed.answer) == ("ok", "fine fine fine")
    with Store.open(db) as store:
        run = store.run(failed.run_id)
        assert (run.state, len(run.resumes), run.last_seq) == ("ok", 1, 3)
        people = {item.review.by for item in store.reviews()}
    assert people >= {"person 1", "person 2", "after the end", "during the resume"}
