"""``doctor`` names what is missing or broken, and what mends it, and never breaks itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]


@pytest.fixture(autouse=True)
def _another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are not there in a test's own cache: a model that needs none makes everything needed ok."""
    monkeypatch.setenv("MONITOR_MODEL", "scripted:replies.yaml")


def parts(result: Result) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in result.json["parts"]}


def test_all_is_well(monitor: Monitor) -> None:
    done = monitor("doctor", "--json")
    assert done.code == 0
    assert (done.json["format"], done.json["ok"]) == ("monitor.doctor/1", True)
    found = parts(done)
    assert set(found) >= {
        "python",
        "packages",
        "settings",
        "sqlite",
        "database",
        "policies",
        "tools",
        "weights",
        "openai",
        "torch",
    }
    assert not [part for part in found.values() if part["needed"] and part["state"] != "ok"]
    assert "tests pass" in found["policies"]["detail"]
    assert not Path("monitor.db").exists(), "looking must not make a database"


def test_a_text_report_has_a_line_for_each_part(monitor: Monitor) -> None:
    done = monitor("doctor")
    assert done.code == 0
    assert "all needed parts are ok" in done.out
    assert "→ monitor models pull" in done.out


def test_missing_weights_matter_when_the_model_is_the_embedded_one(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITOR_MODEL", "embedded")
    done = monitor("doctor", "--json")
    weights = parts(done)["weights"]
    assert (done.code, done.json["ok"]) == (1, False)
    assert (weights["state"], weights["mend"], weights["needed"]) == ("off", "monitor models pull", True)


def test_damaged_weights(monitor: Monitor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MONITOR_CACHE", str(tmp_path))
    from monitor.models.weights import path_of

    path_of().parent.mkdir()
    path_of().write_bytes(b"not the weights")
    weights = parts(monitor("doctor", "--json"))["weights"]
    assert (weights["state"], weights["mend"]) == ("broken", "monitor models pull --force")


def test_a_broken_settings_file_is_reported_and_the_rest_still_examined(monitor: Monitor) -> None:
    Path("monitor.toml").write_text("modle = 1\n", encoding="utf-8")
    done = monitor("doctor", "--json")
    found = parts(done)
    assert done.code == 1
    assert "did you mean 'model'" in found["settings"]["detail"]
    assert found["openai"]["state"] == "ok"


def test_a_mistyped_variable_is_named(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_MODLE", "x")
    settings = parts(monitor("doctor", "--json"))["settings"]
    assert (settings["state"], "MONITOR_MODLE" in settings["detail"]) == ("off", True)


def test_a_file_that_is_no_database(monitor: Monitor) -> None:
    Path("text.db").write_text("no database\n" * 100, encoding="utf-8")
    done = monitor("doctor", "--db", "text.db", "--json")
    assert (done.code, parts(done)["database"]["state"]) == (1, "broken")


def test_a_broken_policy(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("broken.yaml").write_text("pack: [\n", encoding="utf-8")
    monkeypatch.setenv("MONITOR_POLICIES", "./broken.yaml")
    done = monitor("doctor", "--json")
    assert (done.code, parts(done)["policies"]["state"]) == (1, "broken")
    monkeypatch.setenv("MONITOR_POLICIES", "[]")
    done = monitor("doctor", "--json")
    assert (done.code, parts(done)["policies"]["state"]) == (0, "off")


def test_what_confines_tools_is_tried_and_said(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = parts(monitor("doctor", "--json"))["tools"]
    assert tools["state"] == "ok" or "will fail" in tools["detail"]
    for isolation, says in [("process", "can open what this user can open"), ("none", "run in this process")]:
        monkeypatch.setenv("MONITOR_TOOL_ISOLATION", isolation)
        done = monitor("doctor", "--json")
        tools = parts(done)["tools"]
        assert (done.code, tools["state"], says in tools["detail"]) == (0, "off", True)
        assert "landlock" in tools["mend"]


def test_a_machine_without_landlock_is_told_what_to_set(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    from monitor.orchestrate import confinement

    async def lacking(_: str) -> str:
        return "this kernel has no Landlock, or it is switched off (Function not implemented)"

    monkeypatch.setattr(confinement, "problem_of", lacking)
    tools = parts(monitor("doctor", "--json"))["tools"]
    assert (tools["state"], tools["needed"]) == ("off", False)
    assert "tools of untrusted roles will fail: this kernel has no Landlock" in tools["detail"]
    assert 'tool_isolation = "process"' in tools["mend"]
