"""From names to clients, and what is said of names that lead nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from monitor.errors import ConfigError, MissingExtraError, WeightsError
from monitor.models import resolve as resolving
from monitor.models.alias import ModelAlias, read_aliases
from monitor.models.langchain_client import LangChainModel
from monitor.models.openai_client import OpenAIModel
from monitor.models.resolve import resolve
from monitor.settings import EmbeddedOptions

LOCAL = ModelAlias.model_validate({"model": "qwen3", "base_url": "http://localhost:8000/v1", "context_tokens": 8192})


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)


def refused(name: str, **aliases: ModelAlias) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(name, aliases=aliases)
    return str(caught.value)


def test_an_alias_is_an_openai_compatible_endpoint_with_an_unknown_price() -> None:
    model = resolve("local", aliases={"local": LOCAL})

    assert isinstance(model, OpenAIModel)
    assert (model.name, model.context_tokens, model.price) == ("local", 8192, None)


def test_an_alias_has_the_price_it_is_given() -> None:
    priced = LOCAL.model_copy(update={"input_price": 1.0, "output_price": 2.0, "cached_price": 0.5})
    price = resolve("local", aliases={"local": priced}).price

    assert price is not None
    assert price.cost(input_tokens=10**6, cached_tokens=10**6, output_tokens=10**6) == 2.5


def test_openai_is_reached_directly_with_its_listed_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "planted-key-0123456789")
    model = resolve("openai:gpt-4o-mini")

    assert isinstance(model, OpenAIModel)
    assert (model.name, model.context_tokens) == ("openai:gpt-4o-mini", 128_000)
    assert model.price is not None


def test_openai_behind_another_url_has_an_unknown_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "planted-key-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")

    assert resolve("openai:gpt-4o-mini").price is None


def test_other_providers_are_reached_through_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's class comes with langchain-openai, so it is here."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "planted-key-0123456789")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://example.invalid")
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01")
    model = resolve("azure_openai:gpt-4o")

    assert isinstance(model, LangChainModel)
    assert model.name == "azure_openai:gpt-4o"


def test_a_provider_that_is_set_up_wrongly_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)

    assert "azure_openai:gpt-4o' cannot be set up" in refused("azure_openai:gpt-4o")


def test_a_script_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text("steps: [{text: hi}]", "utf-8")

    assert resolve(f"scripted:{path}").name == f"scripted:{path}"


@pytest.mark.parametrize("name", ["gpt-4o", "", "openai:", ":x", "nonesuch:model"])
def test_an_unknown_name_is_told_what_is_possible(name: str) -> None:
    said = refused(name, local=LOCAL)

    assert "embedded, an alias from monitor.toml (local), or PROVIDER:NAME" in said


@pytest.mark.parametrize(
    ("name", "variable"), [("openai:gpt-5", "OPENAI_API_KEY"), ("anthropic:claude-sonnet-4-5", "ANTHROPIC_API_KEY")]
)
def test_a_missing_key_names_its_variable(name: str, variable: str) -> None:
    assert variable in refused(name)


def test_a_missing_key_of_an_alias_names_its_variable() -> None:
    keyed = LOCAL.model_copy(update={"api_key_env": "MY_SERVER_KEY"})

    assert "MY_SERVER_KEY" in refused("mine", mine=keyed)


def test_a_missing_package_of_a_provider_names_the_command() -> None:
    pytest.importorskip("langchain")

    assert "pip install langchain-ollama" in refused("ollama:qwen3")


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [("embedded", "xllamacpp", "embedded"), ("local", "openai", "models"), ("ollama:qwen3", "langchain", "models")],
)
def test_a_missing_extra_names_the_command(
    monkeypatch: pytest.MonkeyPatch, name: str, missing: str, extra: str
) -> None:
    monkeypatch.setattr(resolving, "find_spec", lambda module: None if module == missing else object())

    with pytest.raises(MissingExtraError) as caught:
        resolve(name, aliases={"local": LOCAL})
    assert caught.value.command == f'pip install "factored-monitor[{extra}]"'


def test_missing_weights_are_said_before_anything_is_run() -> None:
    pytest.importorskip("xllamacpp")

    with pytest.raises(WeightsError, match="monitor models pull"):
        resolve("embedded")


def test_another_gguf_must_be_there(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    options = EmbeddedOptions(path=tmp_path / "none.gguf")

    with pytest.raises(ConfigError, match="expected a GGUF file"):
        resolve("embedded", embedded=options)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "x"}, "base_url"),
        ({"model": "x", "base_url": "localhost:8000"}, "https?"),
        ({"model": "x", "base_url": "http://h", "api_key": "k", "api_key_env": "K"}, "keep one"),
        ({"model": "x", "base_url": "http://h", "input_price": 1.0}, "go together"),
        ({"model": "x", "base_url": "http://h", "cached_price": 1.0}, "needs input_price"),
        ({"model": "x", "base_url": "http://h", "baseurl": "http://h"}, "Extra inputs"),
    ],
)
def test_an_alias_that_contradicts_itself_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("?", r"\?")):
        ModelAlias.model_validate(fields)


def test_faults_of_all_tables_are_reported_at_once_without_values() -> None:
    tables = {
        "one": {"model": "x", "base_url": "planted-key-0123456789"},
        "two": {"model": "", "base_url": "http://h", "api_key": "planted-key-0123456789", "api_key_env": "K"},
    }

    with pytest.raises(ConfigError) as caught:
        read_aliases(tables)
    assert "models.one.base_url: " in str(caught.value)
    assert "models.two.model: " in str(caught.value)
    assert "planted" not in str(caught.value)


def test_a_key_in_an_alias_is_not_shown() -> None:
    alias = ModelAlias.model_validate({"model": "x", "base_url": "http://h", "api_key": "planted-key-0123456789"})

    assert "planted" not in repr(alias) + str(alias)


def test_importing_the_package_loads_no_sdk() -> None:
    program = (
        "import sys, monitor.models, monitor.models.resolve, monitor.models.scripted, monitor.models.secrets\n"
        "heavy = {'openai', 'langchain', 'langchain_core', 'xllamacpp', 'genai_prices', 'httpx', 'httpx2', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True)

    assert said.stdout.strip() == "[]"
