"""After an erasure nothing that stays can confirm a guess at the text: not the step's key, its scope, nor its seed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import monitor
from monitor.audit.integrity.purging import plan_purge, purge
from monitor.audit.integrity.redaction import plan_redaction, redact
from monitor.canonical import fingerprint
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate.run import resume_sync
from monitor.records import Outcome, Seal
from monitor.store import Store
from monitor.store.decoding import parse
from monitor.store.erasing import Eraser

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from monitor.records import Call, StoredSubcall

RECIPE = """
async def ask(ctx, task):
    return (await ctx.nest("inner").call("clerk", task=task)).text
"""
ROLE = "---\nname: clerk\ndescription: a clerk\n---\nYou keep secrets.\n"
PIN = "4711"


def asked(folder: Path, db: str, pin: str = PIN, **options: Any) -> str:
    """A run that is asked one short secret; its id."""
    (folder / "office.py").write_text(RECIPE, encoding="utf-8")
    (folder / "clerk.md").write_text(ROLE, encoding="utf-8")
    model = options.pop("model", None) or ScriptedModel([Reply(text="Thank you.")])
    return monitor.run_sync(f"{folder / 'office.py'}:ask", pin, db=db, policies=[], model=model, **options).run_id


def subcall_of(db: str, run: str) -> StoredSubcall:
    with Store.open(db) as store:
        return store.subcalls(run)[0]


def traces_of(db: str, run: str) -> tuple[str, str, int | None]:
    """What of a subcall stays in its first event: key, scope, seed."""
    with Store.open(db) as store:
        (event,) = (parse(one.canonical.decode()) for one in store.events(run) if one.kind == "started")
    body = event["body"]
    assert body["seed"] is None
    return body["key"], body["scope"], body["sealed_seed"]


def guesses(call: Call, pin: str, salt: str) -> tuple[str, str, int]:
    """Key, scope and seed as they would be with this secret, by whoever knows all the rest, and the salt."""
    seal = Seal(salt)
    inner = f"/inner:{fingerprint('', 'nest', 'inner')[:32]}.1"
    handed = fingerprint(
        inner, "call", "clerk", call.model, [message.content.replace(PIN, pin) for message in call.messages]
    )
    scope = f"{inner}/clerk:{handed[:32]}.1"
    key = f"{fingerprint(scope, 'model', 'clerk', call.role_hash, call.model, [])[:32]}.1"
    return seal.key(key), seal.scope(scope), seal.seed(0, call.span_id)


def erased(db: str, run: str) -> None:
    with Eraser.opened(db, busy_seconds=5) as eraser:
        plan = plan_redaction(eraser, run_id=run, surfaces=["task", "messages"])
        assert (
            redact(eraser, plan, everywhere=True, why="a number", by="ann").texts == 2
        )  # the role's prompt too; the salt is not counted


def test_who_holds_the_salt_can_try_a_secret_and_nobody_else(tmp_path: Path, new_database: Callable[[], str]) -> None:
    """That the guess with the salt fits shows that the guesses without it are made in the right way."""
    db = new_database()
    run = asked(tmp_path, db)
    call = subcall_of(db, run).call
    key, scope, _ = traces_of(db, run)
    with Store.open(db) as store:
        salt = store.run(run).start.salt
    assert len(salt) == 64
    assert guesses(call, PIN, salt)[:2] == (key, scope)
    assert guesses(call, "4712", salt)[0] != key
    erased(db, run)
    with Store.open(db) as store:
        left = store.run(run).start.salt
    assert set(left) == {"█"}
    assert traces_of(db, run)[:2] == (key, scope)  # the event is what it was
    known = [left, "", run, call.span_id, *(one for one in (key, scope))]
    for pin, other in itertools.product([PIN, "4712"], known):
        assert guesses(call, pin, other)[0] != key
        assert guesses(call, pin, other)[1] != scope


def test_the_seed_is_known_until_something_is_erased(tmp_path: Path, new_database: Callable[[], str]) -> None:
    db = new_database()
    seen: list[int | None] = []

    def answer(request: Any) -> Reply:
        seen.append(request.seed)
        return Reply(text="Thank you.")

    run = asked(tmp_path, db, model=ScriptedModel(answer))
    assert subcall_of(db, run).call.seed == seen[0]
    assert traces_of(db, run)[2] != seen[0]
    erased(db, run)
    assert subcall_of(db, run).call.seed is None


def test_the_same_seed_gives_the_same_seeds_in_another_run_and_other_keys(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    db = new_database()
    first, second, other = asked(tmp_path, db), asked(tmp_path, db), asked(tmp_path, db, seed=1)
    calls = [subcall_of(db, run).call for run in (first, second, other)]
    assert calls[0].seed == calls[1].seed != calls[2].seed
    assert len({call.key for call in calls}) == 3
    assert len({call.scope for call in calls}) == 3
    assert len({traces_of(db, run)[2] for run in (first, second)}) == 2


def test_a_purge_takes_the_salt_along(tmp_path: Path, new_database: Callable[[], str]) -> None:
    db = new_database()
    run = asked(tmp_path, db)
    with Eraser.opened(db, busy_seconds=5) as eraser:
        purge(eraser, plan_purge(eraser, "2999-01-01T00:00:00.000000Z"), why="old", by="ann")
    with Store.open(db) as store:
        assert set(store.run(run).start.salt) == {"█"}


def test_a_run_without_a_salt_is_gone_on_with(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As runs of older versions are: what they judged is found by its old key, and not asked again."""
    db = new_database()
    monkeypatch.setattr("monitor.orchestrate.run.new_salt", lambda: "")
    (tmp_path / "office.py").write_text(
        "async def ask(ctx, task):\n    a = (await ctx.call('clerk', task=task)).text\n"
        "    return a + (await ctx.call('clerk', task=a)).text\n",
        encoding="utf-8",
    )
    (tmp_path / "clerk.md").write_text(ROLE, encoding="utf-8")
    model = ScriptedModel([Reply(text="one")])  # and then it has no more to say
    result = monitor.run_sync(f"{tmp_path / 'office.py'}:ask", PIN, db=db, policies=[], model=model)
    assert result.outcome is Outcome.FAILED
    again = ScriptedModel([Reply(text="two")])
    gone_on = resume_sync(result.run_id, db=db, model=again, retry_failed=True)
    assert (gone_on.outcome, gone_on.answer) == (Outcome.OK, "onetwo")
