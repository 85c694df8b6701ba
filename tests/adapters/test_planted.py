"""A planted word in any Python function of any kind, on every surface: caught, and handed to nobody."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.errors import Blocked, ConfigError, SubcallFailed
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from monitor.records import StoredSubcall

RULE = """
  - title: A planted word
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a{number:02d}
    name: planted_{name}
    level: high
    action: {action}
    detection: {{s: {{"{field}|contains": {word}}}, condition: s}}
"""
SURFACES = {"reasoning": "reasoning", "output": "output", "arguments": "tool.arguments", "result": "tool.result"}
FORMS = ("function", "coroutine", "generator", "async generator")


@pytest.fixture
def db(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def pack(tmp_path: Path) -> Callable[[str], list[str]]:
    def written(surface: str, action: str = "withhold") -> list[str]:
        rule = RULE.format(number=1, name=surface, field=SURFACES[surface], action=action, word="ALARM")
        path = tmp_path / f"{surface}.yaml"
        path.write_text(f"pack: planted\nversion: 1.0.0\nrules:{rule}")
        return [str(path)]

    return written


def called(form: str, pieces: list[str], given: str = "fine", **options: Any) -> list[Any]:
    """What a function of that form hands on that makes these pieces."""
    made: Any
    if form == "function":

        @monitor.subcall("said", **options)
        def function(text: str) -> str:
            return "".join(pieces)

        return [function(given)]
    if form == "coroutine":

        @monitor.subcall("said", **options)
        async def coroutine(text: str) -> str:
            return "".join(pieces)

        return [asyncio.run(coroutine(given))]
    if form == "generator":

        @monitor.subcall("said", **options)
        def generator(text: str) -> Iterator[str]:
            yield from pieces

        seen: list[str] = []
        made = generator(given)
        try:
            seen.extend(made)
        except Blocked:
            assert not seen
            raise
        return seen

    @monitor.subcall("said", **options)
    async def async_generator(text: str) -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    async def collect() -> list[str]:
        return [piece async for piece in async_generator(given)]

    return asyncio.run(collect())


def last(db: str) -> StoredSubcall:
    with Store.open(db) as store:
        (run,) = store.runs()
        (subcall,) = store.subcalls(run.start.run_id)
        assert run.state == subcall.state
        return subcall


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("surface", SURFACES)
def test_what_is_planted_is_caught_and_reaches_nobody(
    db: str, pack: Callable[[str], list[str]], form: str, surface: str
) -> None:
    is_model = surface in {"reasoning", "output"}
    pieces = {"reasoning": ["<think>AL", "ARM</think>", "Fine."], "output": ["This is an AL", "ARM."]}.get(
        surface, ["fine"] if surface == "arguments" else ["ALARM"]
    )
    given = "ALARM" if surface == "arguments" else "fine"
    with pytest.raises(Blocked, match=f"planted_{surface}"):
        called(form, pieces, given, kind="model" if is_model else "tool", db=db, policy=pack(surface))
    subcall = last(db)
    assert subcall.state == "blocked"
    assert subcall.call.kind == ("model" if is_model else "tool")


@pytest.mark.parametrize("form", FORMS)
def test_what_a_rule_covers_is_handed_on_as_one_text(db: str, pack: Callable[..., list[str]], form: str) -> None:
    given = called(form, ["This is an AL", "ARM."], kind="model", db=db, policy=pack("output", "redact"))
    assert given == ["This is an █████."]


@pytest.mark.parametrize("form", FORMS)
def test_a_model_s_thought_is_told_apart_and_its_words_come_as_they_were(db: str, form: str) -> None:
    pieces = ["<think>Hm.</think>", "Blue."]
    given = called(form, pieces, kind="model", db=db, policy=[])
    assert "".join(given) == "<think>Hm.</think>Blue."
    observation = last(db).observation
    assert observation is not None
    assert (observation.output, observation.reasoning.text, observation.usage.calls) == ("Blue.", "Hm.", 1)


def test_another_kind_is_refused() -> None:
    kind: Any = "agent"
    with pytest.raises(ConfigError, match="tool or model"):
        monitor.subcall("x", kind=kind)


def _grouped() -> Exception:
    return ExceptionGroup("several", [ValueError("fine"), ExceptionGroup("more", [ValueError("ALARM")])])


def _noted() -> Exception:
    error = ValueError("fine")
    error.add_note("ALARM")
    return error


def _caused() -> Exception:
    error = ValueError("fine")
    error.__cause__ = LookupError("ALARM")
    return error


@pytest.mark.parametrize("made", [_grouped, _noted, _caused])
def test_what_an_error_carries_along_is_judged(db: str, tmp_path: Path, made: Callable[[], Exception]) -> None:
    path = tmp_path / "error.yaml"
    rule = RULE.format(number=1, name="error", field="error", action="withhold", word="ALARM")
    path.write_text(f"pack: planted\nversion: 1.0.0\nrules:{rule}")

    @monitor.subcall("fails", db=db, policy=[str(path)])
    def fails() -> str:
        raise made()

    with pytest.raises(SubcallFailed, match="planted_error") as caught:
        fails()
    assert "ALARM" not in "".join(traceback.format_exception(caught.value))


class Letter:
    """What has no ``repr`` of its own."""

    def __init__(self, text: str) -> None:
        self.text = text


def test_what_an_object_holds_is_judged(db: str, pack: Callable[[str], list[str]]) -> None:
    @monitor.subcall("reader", db=db, policy=pack("result"))
    def read() -> Letter:
        return Letter("ALARM")

    with pytest.raises(Blocked, match="planted_result"):
        read()


@pytest.mark.parametrize("form", ["map", "file"])
def test_what_would_be_read_after_it_was_judged_is_refused(db: str, tmp_path: Path, form: str) -> None:
    (tmp_path / "letter").write_text("ALARM")

    @monitor.subcall("reader", db=db, policy=[])
    def read() -> Any:
        return map(str.upper, ["alarm"]) if form == "map" else (tmp_path / "letter").open()

    with pytest.raises(ConfigError, match="judged by nobody"):
        read()
    assert last(db).state == "failed"
