"""The catalog: names, paths, and recipe files that are wrong in every way a recipe file can be."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import sys
from pathlib import Path

import pytest

from monitor import catalog
from monitor.errors import CatalogError, RecipeError

GOOD = '''"""A file of recipes."""

class Point:
    pass

async def mine(context, task):
    """Say the task again."""
    return task

async def other(context, task):
    return task.upper()

def plain(context, task):
    return task
'''


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path.absolute()


@pytest.mark.parametrize("kind", ["recipe", "role", "tool", "policy", "probe"])
def test_every_shipped_name_is_found(kind: catalog.Kind) -> None:
    known = catalog.names(kind)
    assert known == sorted(known)
    for name in known:
        found = catalog.find(kind, name)
        assert name == (found.parent.name if kind == "probe" else found.stem)


def test_every_shipped_recipe_loads_and_has_a_docstring() -> None:
    for name in catalog.names("recipe"):
        recipe = catalog.load_recipe(name)
        assert (recipe.name, recipe.ref) == (name, name)
        assert recipe.doc


def test_the_recipes_of_the_first_release_are_there() -> None:
    assert {"amplify", "answer"} <= set(catalog.names("recipe"))
    assert "core" in catalog.names("policy")


def test_agents_is_no_package() -> None:
    """``agents`` is the import name of OpenAI's Agents SDK: ours must never shadow it."""
    root = Path(catalog.__file__).parent.parent
    assert list((root / "agents").rglob("__init__.py")) == []


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(CatalogError, match=r"no recipe named 'amplfy' \(did you mean 'amplify'\?\).*\./amplfy\.py"):
        catalog.find("recipe", "amplfy")


def test_a_path_is_taken_as_it_is() -> None:
    for kind, name in (("recipe", "./mine.py"), ("role", "roles/x.md"), ("policy", "p.yaml"), ("policy", "q.yml")):
        path = write(name, "")
        assert catalog.find(kind, name) == path  # type: ignore[arg-type]  # mypy widens the tuple's first item to str
    assert catalog.find("policy", "./roles") == Path("roles").absolute()


def test_a_path_that_is_not_there_says_so() -> None:
    with pytest.raises(CatalogError, match=r"no policy file './nowhere.yaml'"):
        catalog.find("policy", "./nowhere.yaml")


def test_roles_near_the_recipe_come_before_the_shipped_ones() -> None:
    name = catalog.names("role")[0]
    near = Path("mine/recipes").absolute()
    near.mkdir(parents=True)
    assert near not in catalog.find("role", name, near=near).parents
    for folder in ("mine/recipes", "mine/roles", "mine/recipes/roles"):
        path = write(f"{folder}/{name}.md", "")
        assert catalog.find("role", name, near=near) == path
    assert catalog.find("role", f"./{name}.md", near=near) == near / f"{name}.md"


def test_tools_near_the_recipe_come_before_the_shipped_ones_and_a_recipe_is_no_tool() -> None:
    near = Path("mine/recipes").absolute()
    write("mine/recipes/calculate.py", GOOD)
    assert catalog.find("tool", "calculate", near=near) == catalog.find("tool", "calculate")
    for folder in ("mine/tools", "mine/recipes/tools"):
        path = write(f"{folder}/calculate.py", "def calculate() -> str:\n    return 'mine'\n")
        assert catalog.find("tool", "calculate", near=near) == path
        assert catalog.load_tool("calculate", near=near).path == path


def test_a_recipe_by_path_has_the_name_of_its_file() -> None:
    path = write("mine.py", GOOD)
    recipe = catalog.load_recipe("./mine.py")
    assert (recipe.name, recipe.path, recipe.ref, recipe.doc) == ("mine", path, str(path), "Say the task again.")
    assert recipe.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert asyncio.run(recipe.function(None, "hello")) == "hello"  # type: ignore[arg-type]  # any awaitable may be declared


def test_a_recipe_by_path_and_function() -> None:
    path = write("mine.py", GOOD)
    recipe = catalog.load_recipe("./mine.py:other")
    assert (recipe.name, recipe.ref, recipe.doc) == ("mine:other", f"{path}:other", "A file of recipes.")
    assert catalog.load_recipe(recipe.ref).function is recipe.function


def test_a_recipe_that_changed_is_loaded_anew() -> None:
    """A long-lived process must not go on with the code that a file had an hour ago under the new file's hash."""
    write("mine.py", GOOD)
    before = catalog.load_recipe("./mine.py")
    write("mine.py", GOOD.replace("return task\n", "return task * 2\n", 1))
    after = catalog.load_recipe("./mine.py")
    assert before.sha256 != after.sha256
    assert asyncio.run(after.function(None, "ab")) == "abab"  # type: ignore[arg-type]  # as above


def test_a_recipe_may_share_its_name_with_a_module_and_leaves_no_cache_behind() -> None:
    write("json.py", GOOD.replace("mine", "json"))
    catalog.load_recipe("./json.py")
    assert not hasattr(sys.modules["json"], "Point")
    assert not Path("__pycache__").exists()


def test_classes_of_a_recipe_can_be_pickled() -> None:
    write("mine.py", GOOD)
    point = sys.modules[catalog.load_recipe("./mine.py").function.__module__].Point
    assert type(pickle.loads(pickle.dumps(point()))) is point


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ny = 1 / 0\n", "line 2: ZeroDivisionError"),
        ("x = 1\n\nasync def mine(:\n", "line 3: SyntaxError"),
        ("import nowhere_to_be_found\n", "line 1: ModuleNotFoundError"),
        ("import sys\n\n\nsys.exit(3)\n", "line 4: SystemExit"),
        ("def f():\n    raise ValueError('no')\n\nf()\n", "line 2: ValueError: no"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError"),
        ("x = '\0'\n", "line 1"),
    ],
)
def test_a_file_that_cannot_be_run_is_reported_with_its_line(text: str, expected: str) -> None:
    path = write("mine.py", text)
    before = set(sys.modules)
    with pytest.raises(RecipeError) as caught:
        catalog.load_recipe("./mine.py")
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert not [name for name in set(sys.modules) - before if name.startswith("monitor_recipe")]


def test_a_missing_function_names_those_that_are_there() -> None:
    write("mine.py", GOOD)
    with pytest.raises(RecipeError, match=r"no function 'othr' \(did you mean 'other'\?\) \(it has mine, other\)"):
        catalog.load_recipe("./mine.py:othr")
    write("empty.py", "")
    with pytest.raises(RecipeError, match="no async function at all"):
        catalog.load_recipe("./empty.py")


def test_a_plain_function_is_refused() -> None:
    write("mine.py", GOOD)
    with pytest.raises(RecipeError, match="'plain' must be an async function: write `async def plain"):
        catalog.load_recipe("./mine.py:plain")
