"""Tables in the documentation are those of the code."""

from __future__ import annotations

import inspect
import tomllib
from importlib import metadata
from typing import TYPE_CHECKING

import pytest
import re2
from packaging.requirements import Requirement

from bench.control import PROTOCOLS, World
from monitor import Context, errors, policy
from monitor.audit.evaluation.evaluate import evaluate
from monitor.catalog import find, load_recipe, load_tool, names
from monitor.orchestrate.isolation import limits as isolation_limits
from monitor.orchestrate.roles import Role, load_role
from monitor.orchestrate.tools import signature_of
from monitor.orchestrate.voting import expected_samples, right_probability
from monitor.records import Action, Limits, Outcome, VerdictValue
from monitor.settings import Settings
from monitor.store.codec import PAYLOADS
from monitor.verdict import SUSPICION, UNKNOWN_SHARE
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

FROM_THE_FILE = {"prompt", "path", "sha256"}
RECIPES = sorted(path.stem for path in (ROOT / "docs" / "recipes").glob("*.md"))
"""The recipes that have a page of their own."""


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table after a heading row that begins with ``heading``, without backticks."""
    table = text.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    lines = [line for line in table.splitlines()[2:] if line.startswith("|")]
    assert lines, f"no table begins with {heading!r}"
    return [[cell.strip().replace("`", "") for cell in line.strip("| ").split(" | ")] for line in lines]


def test_front_matter_is_the_role_model() -> None:
    said = {name: default for name, default, _ in rows(page("docs/recipes.md"), "front matter")}
    fields = {name: field for name, field in Role.model_fields.items() if name not in FROM_THE_FILE}
    assert said.keys() == fields.keys()
    for name, field in fields.items():
        if field.is_required():
            assert said[name] == "required"
        elif isinstance(field.default, (str, int)):
            assert said[name] == str(field.default)
        else:
            assert said[name] in {"none", "no limits", "the run's", "the provider's"}


def test_limits_are_those_of_a_run() -> None:
    said = {name: default for name, _, default in rows(page("docs/budgets.md"), "limit")}
    default = Settings().budget
    assert said == {
        name: "none" if getattr(default, name) is None else f"{getattr(default, name):g}"
        for name in Limits.model_fields
    }


def test_the_context_is_described_whole() -> None:
    said = " ".join(row[0] for row in rows(page("docs/recipes.md"), "call"))
    methods = [name for name, _ in inspect.getmembers(Context, inspect.isfunction) if not name.startswith("_")]
    assert [name for name in methods if f"ctx.{name}(" not in said] == []
    for name in methods:
        parameters = inspect.signature(getattr(Context, name)).parameters
        named = [part for part in parameters if part not in {"self", "inputs", "options", "call_options"}]
        call = said.partition(f"ctx.{name}(")[2].partition(")")[0]
        assert [part for part in named if part not in call] == [], name


def test_errors_are_ours() -> None:
    named = re2.findall(r"`monitor\.errors\.(\w+)`", page("docs/recipes.md"))
    assert named
    assert [name for name in named if not issubclass(getattr(errors, name), errors.MonitorError)] == []


def test_words_are_those_of_the_records() -> None:
    words = page("docs/architecture.md")
    for enum in (Outcome, Action, VerdictValue):
        assert [member.value for member in enum if f"`{member.value}`" not in words] == []


def test_every_kind_of_event_is_explained() -> None:
    assert {row[0] for row in rows(page("docs/record.md"), "event")} == PAYLOADS.keys()


def test_the_cost_of_amplify_is_its_formula() -> None:
    """Calls by depth, and that the formula's roles may be tried three times each."""

    def calls(depth: int, parts: int) -> int:
        return 1 if depth == 0 else 2 + parts * calls(depth - 1, parts)

    said = [[int(cell) for cell in row] for row in rows(page("docs/recipes.md"), "depth")]
    assert said == [[depth, calls(depth, 2), calls(depth, 3), depth + 1] for depth in range(4)]
    for name in ("answer", "decompose", "compose"):
        assert load_role(find("role", name)).budget.calls == 3
    schema = load_role(find("role", "decompose")).output
    assert schema is not None
    questions = schema["properties"]["subquestions"]
    assert (questions["minItems"], questions["maxItems"]) == (2, 3)


def test_what_is_shipped_is_what_is_said() -> None:
    assert sorted(row[0] for row in rows(page("docs/recipes.md"), "recipe")) == names("recipe")
    rules = policy.load([find("policy", "core")]).refs
    for name in ("README.md", "CHANGELOG.md"):
        assert f"{len(rules)} rules" in page(name)


def test_what_the_rules_catch_was_measured_with_the_rules_that_are_shipped() -> None:
    """If not: `monitor evaluate rules --data DATA --report docs/evaluation.md`."""
    shipped = evaluate(policy.load([find("policy", "core")]), ()).packs
    measured = rows(page("docs/evaluation.md"), "pack")
    assert measured == [[one.name, one.version, str(one.rules), one.digest] for one in shipped]


@pytest.mark.parametrize("name", RECIPES)
def test_every_option_of_a_recipe_is_on_its_page(name: str) -> None:
    table = rows(page(f"docs/recipes/{name}.md"), "option")
    said = {option: row[1] for row in table for option in row[0].split(", ")}
    parameters = list(inspect.signature(load_recipe(name).function).parameters.values())[2:]
    assert said.keys() == {parameter.name for parameter in parameters}
    for parameter in parameters:
        default = parameter.default
        if default is inspect.Parameter.empty:
            assert said[parameter.name] == "required"
        elif default in {None, ""}:
            assert said[parameter.name] in {"none", "the model's"}
        else:
            assert said[parameter.name] == str(default).lower()


@pytest.mark.parametrize("name", RECIPES)
def test_the_pages_of_recipes_say_what_they_must(name: str) -> None:
    text = page(f"docs/recipes/{name}.md")
    for heading in ("When it helps", "What it costs", "What the monitor sees, and what it does not"):
        assert f"\n## {heading}\n" in text


def test_the_cost_of_a_vote_is_its_formula() -> None:
    for p, k, samples, right in rows(page("docs/recipes/vote.md"), "p"):
        assert f"{expected_samples(float(p), int(k)):.2f}" == samples
        assert f"{right_probability(float(p), int(k)) ** 1023:.4f}" == right


def test_the_shipped_tools_are_described_with_their_options_and_bounds() -> None:
    said = {name: (options, bounds) for name, options, _, bounds in rows(page("docs/tools.md"), "tool")}
    assert sorted(said) == names("tool")
    for name, (options, bounds) in said.items():
        function = load_tool(name).function
        assert options == (", ".join(signature_of(function).options) or "none")
        limits = {
            "read_file": ("MAX_BYTES", "MAX_ENTRIES"),
            "calculate": ("MAX_CHARS", "MAX_BITS"),
            "search_corpus": ("MAX_FILES", "MAX_RESULTS"),
        }
        for limit in limits[name]:
            assert f"{function.__globals__[limit]:,} " in bounds, limit


def test_the_limits_of_an_isolated_tool_are_those_of_the_code() -> None:
    text = page("docs/tools.md")
    assert (
        f"{isolation_limits.CPU_SECONDS} seconds of processor time, {isolation_limits.SECONDS} seconds in all" in text
    )
    sizes = (isolation_limits.MEMORY_BYTES >> 20, isolation_limits.OPEN_FILES, isolation_limits.FILE_BYTES >> 20)
    assert "{} MB, {} open files, files of {} MB".format(*sizes) in text
    assert f"of {isolation_limits.ANSWER_BYTES >> 20} MiB at most" in text


def test_the_theory_of_the_control_protocols_is_its_formulas() -> None:
    table = rows(page("docs/measurements.md"), "protocol")
    assert [row[0] for row in table] == [protocol.name.replace("`", "") for protocol in PROTOCOLS]
    for row, protocol in zip(table, PROTOCOLS, strict=True):
        theory = protocol.theory(World())
        said = [float(cell) for cell in (row[2], row[4], row[6])]
        assert said == [round(100 * theory.safe, 1), round(100 * theory.useful, 1), round(theory.calls, 2)]


def test_suspicion_is_its_table() -> None:
    said = [[cell, *map(float, weights)] for cell, *weights in rows(page("docs/recipes/resample.md"), "level")]
    assert said == [[level, weight, weight * UNKNOWN_SHARE] for level, weight in SUSPICION.items()]


def required() -> Iterable[str]:
    project = tomllib.loads(page("pyproject.toml"))["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return {Requirement(text).name for text in texts} - {"factored-monitor"}


def test_every_dependency_has_a_line() -> None:
    said = re2.findall(
        r"`([\w.-]+)`", " ".join(line for line in page("docs/dependencies.md").splitlines() if "| `" in line)
    )
    assert sorted(set(required()) - set(said)) == []


@pytest.mark.parametrize("name", sorted(required()))
def test_licences_are_those_that_the_packages_state(name: str) -> None:
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        pytest.skip("not installed here")
    line = next(line for line in page("docs/dependencies.md").splitlines() if f"`{name}`" in line and line[0] == "|")
    fields = ("License-Expression", "License", "Classifier", "License-File")
    stated = " ".join(
        text for field in fields for text in about.get_all(field) or () if field != "License" or len(text) < 40
    )
    families = {
        "MIT": "MIT",
        "BSD-3-Clause": "BSD",
        "Apache-2.0": "Apache",
        "LGPL-3.0": "LGPL-3.0",
        "PSF-2.0": "Python Software Foundation",
        "zlib": "LICENSE",
    }  # zlib is only in its file
    (licence,) = (word for word in families if f"| {word} |" in line)
    assert families[licence] in stated
