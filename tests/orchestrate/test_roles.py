"""Roles: what a file must say, where a fault is, and what a role is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import catalog
from monitor.errors import RecipeError, RoleError
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate.context import recipe_options
from monitor.orchestrate.roles import load_role
from monitor.records import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from tests.orchestrate.conftest import Desk

HEAD = "---\nname: clerk\ndescription: a clerk\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "clerk.md"
    path.write_text(text)
    return path


def faults_of(path: Path) -> list[tuple[int, str]]:
    with pytest.raises(RoleError) as caught:
        load_role(path)
    return [(fault.line, str(fault)) for fault in caught.value.faults]


@pytest.mark.parametrize("name", catalog.names("role"))
def test_the_shipped_roles_load_and_require_reasoning(name: str) -> None:
    role = load_role(catalog.find("role", name))
    assert role.name == name
    assert role.trust == ("trusted" if name.startswith("trusted_") else "untrusted")
    if name == "react":  # between tool calls many models write nothing: it is asked to think, and may not
        assert (role.reasoning, role.output) == ("optional", None)
        return
    assert role.reasoning == "required"
    assert next(iter((role.output or {})["properties"])) == "reasoning", "a model thinks before it answers"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("no front matter\n", 1, "front matter"),
        ("---\nname: clerk\n", 1, "front matter"),
        ("---\nname: clerk\n---\nhi\n", 2, "description"),
        (f"{HEAD}bugdet: {{calls: 1}}\n---\nhi\n", 4, "did you mean 'budget'"),
        (f"{HEAD}budget:\n  cals: 1\n---\nhi\n", 5, "did you mean 'calls'"),
        (f"{HEAD}budget:\n  calls: -1\n---\nhi\n", 5, "greater than or equal to 0"),
        (f"{HEAD}trust: maybe\n---\nhi\n", 4, "trusted"),
        (f"{HEAD}name: twice\n---\nhi\n", 4, "a second time"),
        (f"{HEAD}prompt: here\n---\nhi\n", 4, "does not belong in front matter"),
        (f"{HEAD}max_output_tokens: many\n---\nhi\n", 4, "valid integer"),
        (f"{HEAD}output: {{type: array}}\n---\nhi\n", 4, "type object"),
        (f"{HEAD}output: {{type: object, properties: {{a: {{type: strnig}}}}}}\n---\nhi\n", 4, "no JSON Schema"),
        (
            f"{HEAD}output: {{type: object, properties: {{a: {{type: string, pattern: (a+)+$}}}}}}\n---\nhi\n",
            4,
            "may not use pattern",
        ),
        (f"{HEAD}input: 'a {{task!r}}'\nexamples:\n  - {{input: {{task: x}}, output: y}}\n---\nhi\n", 4, "plain names"),
        (
            f"{HEAD}output: {{type: object, properties: {{a: {{type: string}}}}}}\n"
            "examples:\n  - {input: {task: x}, output: {a: 7}}\n---\nhi\n",
            5,
            "example 1 does not fit",
        ),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    faults = faults_of(write(tmp_path, text))
    assert any(says in fault for _, fault in faults), faults
    assert line in [found for found, fault in faults if says in fault]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    faults = faults_of(write(tmp_path, f"{HEAD}retries: -1\ntrust: maybe\nnonsense: 1\n---\nhi\n"))
    assert [line for line, _ in faults] == [4, 5, 6]


def test_a_property_may_have_the_name_of_a_refused_keyword(tmp_path: Path) -> None:
    role = load_role(
        write(tmp_path, f"{HEAD}output: {{type: object, properties: {{pattern: {{type: string}}}}}}\n---\nhi\n")
    )
    assert role.output is not None


def test_what_a_role_is_handed(tmp_path: Path) -> None:
    role = load_role(
        write(
            tmp_path,
            f"{HEAD}input: 'Q: {{task}} given {{facts}}'\n"
            "examples:\n  - {input: {task: one, facts: two}, output: three}\n---\nYou are a clerk.\n",
        )
    )
    said = [(message.role, message.content) for message in role.messages({"task": "why", "facts": ["a", "b"]})]
    assert said == [
        ("system", "You are a clerk."),
        ("user", "Q: one given two"),
        ("assistant", "three"),
        ("user", "Q: why given 1. a\n2. b"),
    ]
    with pytest.raises(ValueError, match="needs facts"):
        role.messages({"task": "why"})


def test_text_that_is_handed_is_never_read_as_a_template(tmp_path: Path) -> None:
    role = load_role(write(tmp_path, f"{HEAD}input: 'Q: {{task}}'\n---\nhi\n"))
    assert role.user_message({"task": "{secret} {0} {task.__class__}"}) == "Q: {secret} {0} {task.__class__}"


def test_inputs_without_a_template_are_labelled_paragraphs(tmp_path: Path) -> None:
    role = load_role(write(tmp_path, f"{HEAD}---\nhi\n"))
    assert role.user_message({"task": "just this"}) == "just this"
    assert role.user_message({"task": "why", "earlier_answer": 7}) == "Task: why\n\nEarlier answer: 7"


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}---\none\n")
    first = load_role(path)
    path.write_text(f"{HEAD}---\ntwo and more\n")
    assert load_role(path).prompt == "two and more"
    assert load_role(path).sha256 != first.sha256


def test_options_take_the_types_of_the_recipe() -> None:
    async def recipe(ctx: object, task: str, depth: int = 1, *, fast: bool = False) -> None: ...

    assert recipe_options(recipe, {"depth": "2", "fast": "true"}) == {"depth": 2, "fast": True}
    with pytest.raises(RecipeError, match="no option deep"):
        recipe_options(recipe, {"deep": 1})
    with pytest.raises(RecipeError, match="valid integer"):
        recipe_options(recipe, {"depth": "many"})


def test_a_map_keeps_to_its_concurrency(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "clerk.md").write_text(f"{HEAD}---\nhi\n")
    (tmp_path / "wide.py").write_text(
        "async def wide(ctx, task: str) -> str:\n"
        '    answers = await ctx.map("clerk", [{"task": str(n)} for n in range(12)], concurrency=3)\n'
        '    return " ".join(answer.text for answer in answers)\n'
    )
    model = ScriptedModel(lambda request: Reply(text=request.messages[-1].content, delay=0.01))
    counts = {"now": 0, "most": 0}

    def count(event: object) -> None:
        kind = getattr(event, "kind", "")
        counts["now"] += {"started": 1, "observed": -1}.get(kind, 0)
        counts["most"] = max(counts["most"], counts["now"])

    result = desk.run(f"{tmp_path}/wide.py", model, concurrency=8, listener=count)
    assert result.answer == " ".join(str(n) for n in range(12))
    assert counts["most"] == 3


def test_a_role_without_a_needed_input_and_a_tool_outside_its_list_are_errors(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "clerk.md").write_text(f"{HEAD}input: '{{task}} {{facts}}'\n---\nhi\n")
    (tmp_path / "bad.py").write_text(
        'async def bad(ctx, task: str) -> str:\n    return (await ctx.call("clerk", task=task)).text\n'
    )
    (tmp_path / "tool.py").write_text(
        'def add(a: int) -> int:\n    """Add."""\n    return a\n\n'
        "async def tool(ctx, task: str) -> str:\n"
        '    return (await ctx.call("clerk", task=task, facts="x", tools=[add])).text\n'
    )
    for recipe, says in (("bad", "needs facts"), ("tool", "not in its tools")):
        result = desk.run(f"{tmp_path}/{recipe}.py", ScriptedModel([]))
        assert result.outcome is Outcome.FAILED
        assert says in (result.error.message if result.error else "")
