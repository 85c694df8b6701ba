"""Settings: precedence, merging, and faults that say where they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.errors import ConfigError
from monitor.records import Limits
from monitor.settings import Settings, find_config, unknown_variables

KEY = "sk-planted-0123456789"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "monitor.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path.absolute()


def fault(**flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        Settings(**flags)
    return str(caught.value)


def test_defaults_make_a_demo_safe() -> None:
    settings = Settings()
    assert (settings.db, settings.model, settings.policies) == ("sqlite:///monitor.db", "embedded", ("core",))
    assert settings.budget == Limits(calls=64, depth=6, seconds=600)
    assert settings.config_file is None


def test_flags_beat_environment_beats_file_beats_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    write('model = "file"\nconcurrency = 3\nbusy_seconds = 7\n')
    monkeypatch.setenv("MONITOR_MODEL", "environment")
    monkeypatch.setenv("MONITOR_CONCURRENCY", "4")
    settings = Settings(model="flag")
    assert (settings.model, settings.concurrency, settings.busy_seconds) == ("flag", 4, 7)
    assert settings.embedded.parallel == 2


def test_a_flag_that_is_none_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_DB", "here.db")
    assert Settings(db=None).db == "here.db"


def test_limits_are_merged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[budget]\ncalls = 30\noutput_tokens = 9\n")
    monkeypatch.setenv("MONITOR_BUDGET", '{"calls": 20, "cost": 0.5}')
    budget = Settings(budget={"calls": 10}).budget
    assert budget == Limits(calls=10, depth=6, seconds=600, cost=0.5, output_tokens=9)


def test_a_whole_limits_object_is_taken_as_it_is() -> None:
    assert Settings(budget=Limits(calls=1)).budget == Limits(calls=1)


def test_none_lifts_a_limit() -> None:
    write('[budget]\nseconds = "none"\n')
    assert Settings(budget={"depth": "unlimited"}).budget == Limits(calls=64)


@pytest.mark.parametrize("value", ["core,./mine.yaml", '["core", "./mine.yaml"]', " core , ./mine.yaml ,"])
def test_policies_in_the_environment(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MONITOR_POLICIES", value)
    assert Settings().policies == ("core", "./mine.yaml")


def test_an_empty_variable_is_not_set_and_an_empty_list_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_DB", "")
    monkeypatch.setenv("MONITOR_POLICIES", "[]")
    settings = Settings()
    assert (settings.db, settings.policies) == ("sqlite:///monitor.db", ())


def test_another_file_by_variable_and_by_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    write('model = "nearest"\n')
    named = write('model = "named"\n', "named.toml")
    flagged = write('model = "flagged"\n', "flagged.toml")
    assert Settings().model == "nearest"
    monkeypatch.setenv("MONITOR_CONFIG", str(named))
    assert (Settings().model, Settings().config_file) == ("named", named)
    assert Settings(config=flagged).model == "flagged"


def test_the_nearest_file_is_found_up_to_the_top_of_the_repository(tmp_path: Path) -> None:
    repository, inner = tmp_path / "repository", tmp_path / "repository/a/b"
    inner.mkdir(parents=True)
    above = write("concurrency = 1\n")
    assert find_config(inner) is None, "outside of a repository the folders above are not ours to trust"
    (repository / ".git").mkdir()
    assert find_config(inner) is None, "above the top of the repository"
    (repository / "monitor.toml").touch()
    assert find_config(inner) == repository / "monitor.toml"
    assert find_config(tmp_path) == above


def test_relative_paths_in_the_file_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / ".git").mkdir()
    write('db = "sqlite:///runs.db"\ncache = "weights"\npolicies = ["core", "./mine.yaml"]\n')
    monkeypatch.chdir(tmp_path / "deep")
    settings = Settings()
    assert settings.db == f"sqlite:///{tmp_path}/runs.db"
    assert settings.cache == tmp_path / "weights"
    assert settings.policies == ("core", str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("db", "expected"), [("runs.db", "{}/runs.db"), ("/a/b.db", "/a/b.db"), ("x://h/d", "x://h/d")]
)
def test_a_database_in_the_file(tmp_path: Path, db: str, expected: str) -> None:
    write(f'db = "{db}"\n')
    assert Settings().db == expected.format(tmp_path)


def test_an_unknown_setting_is_named_with_its_line_and_the_nearest_name() -> None:
    path = write('# mine\nmodel = "x"\nmodle = "y"\n')
    assert f"{path}:3: unknown setting 'modle' (did you mean 'model'?)" in fault()


def test_an_unknown_limit_is_named_with_its_line_and_the_nearest_name() -> None:
    path = write("model = 'x'\n\n[budget]\ndepth = 2\ncallz = 3\n")
    assert f"{path}:5: budget.callz: unknown name 'callz' (did you mean 'calls'?)" in fault()


def test_wrong_values_name_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("concurrency = 0\n[embedded]\nparallel = 'two'\n")
    monkeypatch.setenv("MONITOR_BUSY_SECONDS", "soon")
    message = fault(budget={"calls": -1})
    assert "--budget calls: Input should be greater than or equal to 0; found -1" in message
    assert "MONITOR_BUSY_SECONDS: Input should be a valid number" in message
    assert f"{path}:1: concurrency: Input should be greater than or equal to 1; found 0" in message
    assert f"{path}:3: embedded.parallel: Input should be a valid integer" in message


def test_an_unknown_flag_is_refused() -> None:
    assert "unknown name 'modell' (did you mean 'model'?)" in fault(modell="x")


def test_a_broken_file_says_where() -> None:
    path = write("model = \n")
    assert f"{path}: not valid TOML" in fault()
    assert "line 1" in fault()


def test_a_missing_file_that_was_named_is_an_error() -> None:
    assert "cannot read the settings file nowhere.toml" in fault(config="nowhere.toml")


def test_bytes_that_are_no_text_say_so() -> None:
    Path("monitor.toml").write_bytes(b"model = '\xff'\n")
    assert "expected UTF-8" in fault()


def test_json_that_is_broken_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_BUDGET", "calls=10")
    assert 'error parsing value for field "budget"' in fault()
    monkeypatch.delenv("MONITOR_BUDGET")
    monkeypatch.setenv("MONITOR_POLICIES", "[core")
    assert "MONITOR_POLICIES" in fault()


def test_keys_are_never_shown() -> None:
    """Neither repr, dump, JSON nor an error on the same table shows a key; the value itself is still there."""
    write(f'[models.big]\nmodel = "m"\nbase_url = "http://127.0.0.1/v1"\napi_key = "{KEY}"\napi_key_env = "BIG_KEY"\n')
    settings = Settings()
    table = settings.models["big"]
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json(), str(table)):
        assert KEY not in shown
    assert table["api_key"].get_secret_value() == KEY
    assert table["api_key_env"] == "BIG_KEY"


@pytest.mark.parametrize("text", ['[models]\nbig = "{}"\n', 'models = ["{}"]\n', '[models.big]\napi_key = "{}\n'])
def test_a_key_in_a_broken_file_is_not_shown(text: str) -> None:
    write(text.format(KEY))
    assert KEY not in fault()


def test_variables_that_nothing_reads_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_MODLE", "x")
    monkeypatch.setenv("MONITOR_DEBUG", "1")
    assert unknown_variables() == ["MONITOR_MODLE"]
