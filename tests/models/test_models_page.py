"""The page on models says what is so: its examples are run and loaded."""

from __future__ import annotations

import tomllib
from pathlib import Path

from monitor.models.alias import read_aliases
from monitor.models.script_file import load
from monitor.settings import EmbeddedOptions

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return [part.partition("\n```")[0] for part in PAGE.split(f"```{language}\n")[1:]]


def test_the_python_runs() -> None:
    for block in blocks("python"):
        exec(compile(block, "docs/models.md", "exec"), {})


def test_the_scripts_load(tmp_path: Path) -> None:
    for number, block in enumerate(blocks("yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, "utf-8")
        assert load(path).context_tokens == 4096


def test_the_settings_are_ours() -> None:
    tables = [tomllib.loads(block) for block in blocks("toml")]

    assert EmbeddedOptions.model_validate(tables[0]["embedded"]) == EmbeddedOptions()
    assert set(read_aliases(tables[1]["models"])) == {"qwen", "laptop"}
