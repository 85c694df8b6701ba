"""Tools by name, with options, as functions: what a recipe may hand to a role, and what is refused with which words."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import Field
from typing_extensions import TypedDict

import monitor
from monitor import catalog
from monitor.canonical import parse_json
from monitor.errors import CatalogError, RecipeError
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate.confinement import Toolbox, home_of
from monitor.orchestrate.roles import Role
from monitor.orchestrate.starting import toolbox as toolbox_of
from monitor.orchestrate.tools import Tool, is_plain, signature_of
from monitor.records import ToolCall
from monitor.settings import Settings
from monitor.store import Store
from tests.orchestrate.isolation.conftest import needs_landlock

if TYPE_CHECKING:
    from monitor.settings import ToolIsolation
    from tests.orchestrate.conftest import Desk

ROLE = Role(name="clerk", description="d", tools=("calculate", "read_file", "search_corpus", "lookup"), path="clerk.md")
TRUSTED = ROLE.model_copy(update={"trust": "trusted"})


class Pair(TypedDict):
    left: int
    right: int


class Odd(TypedDict):
    when: bytes


def lookup(
    name: str,
    pair: Pair,
    way: Literal["up", "down"] = "up",
    *,
    folder: Path,
    most: Annotated[int, Field(ge=1)] = 3,
) -> str:
    """Look something up.

    In a folder.
    """
    return f"{name} {pair['left']} {way} {folder.name} {most}"


def toolbox(isolation: ToolIsolation = "landlock", hidden: frozenset[Path] = frozenset()) -> Toolbox:
    return Toolbox(isolation, hidden)


def handed(*choices: Any, role: Role = ROLE, box: Toolbox | None = None) -> tuple[Tool, ...]:
    return (box or toolbox()).tools(choices, role, Path.cwd())


def test_the_model_is_told_the_parameters_and_never_the_options(tmp_path: Path) -> None:
    (tool,) = handed(monitor.tool(lookup, folder=tmp_path))
    assert (tool.spec.name, tool.spec.description) == ("lookup", "Look something up.\n\nIn a folder.")
    assert tool.spec.parameters["properties"].keys() == {"name", "pair", "way"}
    assert tool.spec.parameters["required"] == ["name", "pair"]
    assert tool.spec.parameters["additionalProperties"] is False
    assert tool.options == {"folder": tmp_path.resolve()}


def test_a_tool_is_read_once() -> None:
    assert handed("calculate")[0].spec is handed("calculate")[0].spec
    assert signature_of(lookup) is signature_of(lookup)


@needs_landlock
@pytest.mark.parametrize("trust", ["trusted", "untrusted"])
def test_arguments_and_options_reach_the_function_in_either_place(desk: Desk, tmp_path: Path, trust: str) -> None:
    """And a model that sets an option is told that there is none."""
    write_desk(tmp_path, trust, "monitor.tool(lookup, folder=FOLDER, most=2)")
    good = {"name": "x", "pair": {"left": 1, "right": 2}}
    calls = [call("1", good), call("2", {**good, "folder": "/etc"}), call("3", {"name": 1, "pair": {}})]
    model = ScriptedModel([Reply(tool_calls=tuple(calls)), "done"])
    assert desk.run(f"{tmp_path}/mine.py", model).answer == "done"
    first, second, third = [message.content for message in model.requests[1].messages[-3:]]
    assert first == f"x 1 up {tmp_path.name} 2"
    assert "folder: Unexpected keyword argument" in second
    assert "name: Input should be a valid string; pair.left: Field required" in third


def call(id_: str, arguments: dict[str, Any], name: str = "lookup") -> ToolCall:
    return ToolCall(id=id_, name=name, arguments=json.dumps(arguments))


def write_desk(folder: Path, trust: str, choice: str, extra: str = "") -> None:
    """A recipe in a folder that hands one tool to a role of some trust."""
    (folder / "roles").mkdir(exist_ok=True)
    (folder / "roles" / "clerk.md").write_text(
        f"---\nname: clerk\ndescription: d\ntrust: {trust}\ntools: [lookup, calculate, read_file]\n---\nUse tools.\n"
    )
    (folder / "mine.py").write_text(
        "from pathlib import Path\nfrom typing_extensions import TypedDict\nimport monitor\n\n"
        "FOLDER = Path(__file__).parent\n\n"
        "class Pair(TypedDict):\n    left: int\n    right: int\n\n"
        "def lookup(name: str, pair: Pair, *, folder: Path, most: int = 3) -> str:\n"
        "    assert isinstance(folder, Path)\n"
        "    return f'{name} {pair[\"left\"]} up {folder.name} {most}'\n\n"
        f"{extra}\n"
        "async def mine(ctx, task):\n"
        f"    return await ctx.call('clerk', task=task, tools=[{choice}])\n"
    )


@needs_landlock
def test_a_tool_beside_the_recipe_comes_before_the_shipped_one(desk: Desk, tmp_path: Path) -> None:
    write_desk(tmp_path, "untrusted", "'calculate'")
    arguments = {"expression": "6*7"}
    for expected in ("42", "own 6*7"):
        model = ScriptedModel([Reply(tool_calls=(call("1", arguments, "calculate"),)), "done"])
        assert desk.run(f"{tmp_path}/mine.py", model).answer == "done"
        assert model.requests[1].messages[-1].content == expected
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / "calculate.py").write_text(
            'def calculate(expression: str) -> str:\n    """Own."""\n    return f"own {expression}"\n'
        )


@needs_landlock
@pytest.mark.sqlite("the file of the store is what the tool tries to open")
def test_the_store_in_a_bound_folder_is_not_in_reach(desk: Desk, tmp_path: Path) -> None:
    """A developer binds the folder that he works in; the database, its log and the settings lie there, too."""
    write_desk(tmp_path, "untrusted", "monitor.tool('read_file', folder=FOLDER)")
    (tmp_path / "monitor.toml").write_text("")
    (tmp_path / "notes.txt").write_text("the notes")
    (tmp_path / "link.txt").symlink_to(tmp_path / "monitor.db")
    names = ("notes.txt", "monitor.db", "monitor.db-wal", "monitor.toml", "link.txt", "/etc/passwd", ".")
    calls = tuple(call(name, {"path": name}, "read_file") for name in names)
    model = ScriptedModel([Reply(tool_calls=calls), "done"])
    settings = Settings(db=desk.db, config=tmp_path / "monitor.toml")
    assert desk.run(f"{tmp_path}/mine.py", model, settings=settings).answer == "done"
    said = {message.tool_call_id: message.content for message in model.requests[1].messages if message.role == "tool"}
    assert said["notes.txt"] == "the notes"
    for name in names[1:6]:
        assert said[name].startswith("failed: "), name
        assert "cannot be read: Permission denied" in said[name] or "is outside of the folder" in said[name]
    assert "monitor.db" in said["."]


def test_wrong_options_are_told_with_what_to_write(tmp_path: Path) -> None:
    for choice, says in [
        (lookup, r'tool lookup needs folder: hand it over as monitor\.tool\("lookup", folder=…\)'),
        (
            monitor.tool(lookup, folder=tmp_path, mots=1),
            r"no option mots \(did you mean 'most'\?\); .*: folder, most",
        ),
        (monitor.tool(lookup, folder=tmp_path, most=0), r"option most: Input should be greater than or equal to 1"),
        (monitor.tool(lookup, folder=tmp_path / "nowhere"), r"option folder: cannot find .*nowhere"),
        (monitor.tool("calculate", folder="x"), r"tool calculate has no option folder; its options: none"),
    ]:
        with pytest.raises(RecipeError, match=says):
            handed(choice)


def test_what_is_hidden_cannot_be_bound(tmp_path: Path) -> None:
    box = toolbox(hidden=frozenset({tmp_path}))
    for folder in (tmp_path, tmp_path / "home"):
        with pytest.raises(RecipeError, match="is the monitor's own; no tool may read it"):
            handed(monitor.tool("read_file", folder=folder), box=box)


def test_a_function_that_no_child_could_find_says_both_ways_out() -> None:
    def inner(x: int) -> int:
        return x

    inner.__name__ = "lookup"
    for function in (inner, lambda x: x):
        function.__name__ = "lookup"
        with pytest.raises(RecipeError, match=r"at the top of a file, .* or declare `trust: trusted` in clerk\.md"):
            handed(function)
        assert handed(function, role=TRUSTED)[0].confinement is None
        assert handed(function, box=toolbox("none"))[0].confinement is None


def test_a_function_that_takes_more_than_json_says_so() -> None:
    def strange(x: Path) -> str:
        return str(x)

    globals()["strange"] = strange
    try:
        with pytest.raises(RecipeError, match="takes JSON there: type x as str"):
            handed(strange, role=ROLE.model_copy(update={"tools": ("strange",)}))
    finally:
        del globals()["strange"]


def test_hints_that_are_json() -> None:
    plain: list[Any] = [str, int | None, list[dict[str, float]], Literal["a", 1], Pair, Any]
    plain.append(Annotated[str, Field(max_length=3)])
    assert [hint for hint in plain if not is_plain(hint)] == []
    strange: list[Any] = [Path, bytes, set[int], list[Path], type, tuple[int, ...], Odd]
    assert [hint for hint in strange if is_plain(hint)] == []


def test_what_cannot_be_a_tool_says_why() -> None:
    def starred(*words: str) -> str:
        return ""

    def positional(word: str, /) -> str:
        return word

    def unknown(word: "Nowhere") -> str:  # type: ignore[name-defined]  # noqa: F821, UP037 - what is tested
        return str(word)

    for odd, says in ((starred, "words has no name"), (positional, "word has no name"), (unknown, "'Nowhere'")):
        with pytest.raises(RecipeError, match=says):
            handed(odd, role=TRUSTED)
    with pytest.raises(CatalogError, match=r"no tool named 'calcluate' \(did you mean 'calculate'\?\)"):
        handed("calcluate")


def test_tools_outside_the_list_and_two_of_one_name_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"was handed calculate, not in its tools: add it to clerk\.md"):
        handed("calculate", role=ROLE.model_copy(update={"tools": ()}))
    with pytest.raises(RecipeError, match="two tools named calculate"):
        handed("calculate", "calculate")


def test_a_tool_file_must_have_the_function_that_it_is_named_after(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("def another(): ...")
    with pytest.raises(RecipeError, match=r"expected a function named like the file: `def other\(\.\.\.\)`"):
        catalog.load_tool(str(tmp_path / "other.py"))


def test_the_text_that_runs_is_the_text_that_was_read(tmp_path: Path) -> None:
    """A file that changes after the run began does not change the tool."""
    path = tmp_path / "lookup.py"
    path.write_text("def lookup() -> str:\n    return 'first'\n")
    function = catalog.load_tool(str(path)).function
    path.write_text("def lookup() -> str:\n    return 'second'\n")
    assert "first" in home_of(function, ROLE).source


@pytest.mark.parametrize(
    ("recorded", "now", "effective"),
    [("process", "none", "process"), ("landlock", "none", "landlock"), ("none", "landlock", "landlock")],
)
def test_the_isolation_of_a_run_is_in_its_record_and_no_resume_weakens_it(
    desk: Desk, recorded: ToolIsolation, now: ToolIsolation, effective: ToolIsolation
) -> None:
    result = desk.run("single", ScriptedModel(["fine"]), settings=Settings(db=desk.db, tool_isolation=recorded))
    with Store.open(desk.db) as store:
        start = store.run(result.run_id).start
    assert parse_json(start.options)["tool_isolation"] == recorded
    assert toolbox_of(Settings(db=desk.db, tool_isolation=now), desk.db, start).isolation == effective


@pytest.mark.sqlite("the files of the store are looked for")
def test_what_is_hidden_is_the_store_the_policies_and_the_settings(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "monitor.toml").write_text("")
    result = desk.run("single", ScriptedModel(["fine"]))
    with Store.open(desk.db) as store:
        start = store.run(result.run_id).start
    hidden = toolbox_of(Settings(config=tmp_path / "monitor.toml"), desk.db, start).hidden
    store_files = {Path(desk.db + tail).resolve() for tail in ("", "-wal", "-shm", "-journal")}
    assert hidden == {
        *store_files,
        tmp_path.resolve() / "monitor.toml",
        catalog.shipped("policy").resolve(),
        catalog.find("policy", "core"),
    }


@pytest.mark.parametrize(("isolation", "warnings"), [("landlock", 0), ("process", 1), ("none", 1)])
def test_weaker_isolation_is_said_once(
    isolation: ToolIsolation, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    box = toolbox(isolation)
    with caplog.at_level(logging.WARNING):
        for role in (TRUSTED, ROLE, ROLE):
            handed("calculate", role=role, box=box)
    assert len(caplog.records) == warnings


def test_nobody_is_warned_for_trusted_roles(caplog: pytest.LogCaptureFixture) -> None:
    handed("calculate", role=TRUSTED, box=toolbox("none"))
    assert caplog.records == []
