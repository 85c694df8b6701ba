"""From the name of a model to its client: ``embedded``, an alias, ``scripted:FILE`` or ``PROVIDER:NAME``.

Whatever is missing (a package, a key, the weights) is said here, before anything is spent.
"""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import ConfigError, MissingExtraError
from monitor.models import pricing, secrets, weights
from monitor.models.openai_client import OFFICIAL_HOST, OpenAIModel
from monitor.settings import EmbeddedOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import BaseChatModel

    from monitor.models.alias import ModelAlias
    from monitor.models.base import ModelClient

EMBEDDED = "embedded"
_OPENAI_URL = f"https://{OFFICIAL_HOST}/v1"

_KEY_VARIABLES = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "cohere": ("COHERE_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks": ("FIREWORKS_API_KEY",),
    "google_genai": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistralai": ("MISTRAL_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "xai": ("XAI_API_KEY",),
}
"""The environment variables that hold the providers' keys, any one of which is enough; others check for themselves."""


def resolve(
    name: str, *, aliases: Mapping[str, ModelAlias] | None = None, embedded: EmbeddedOptions | None = None
) -> ModelClient:
    """The client of a model.

    Raises:
        ConfigError: there is no such model, or its key or its provider's package is missing; the message says what
            is possible or what to do. MissingExtraError where an extra of ours is missing.
        WeightsError: the embedded model's weights are missing or damaged.
    """
    aliases = aliases or {}
    if name == EMBEDDED:
        return _embedded(embedded or EmbeddedOptions())
    if name in aliases:
        return _alias(name, aliases[name])
    provider, colon, model = name.partition(":")
    if not (colon and provider and model):
        raise ConfigError(f"no model is called {name!r}. {_possible(aliases)}")
    if provider == "scripted":
        from monitor.models.script_file import load  # noqa: PLC0415 - loads YAML and pydantic models for a test double

        return load(Path(model))
    if provider == "openai":
        return _openai(name, model)
    return _langchain(name, provider, model, aliases)


def _embedded(options: EmbeddedOptions) -> ModelClient:
    for module in ("xllamacpp", "openai"):
        if find_spec(module) is None:
            raise MissingExtraError(f"the embedded model's engine ({module})", "embedded")
    if options.path is None:
        weights.locate()
    elif not options.path.is_file():
        raise ConfigError(f"the embedded model's path is no file: {options.path}; expected a GGUF file")
    from monitor.models.embedded import EmbeddedModel  # noqa: PLC0415 - only when it is used

    return EmbeddedModel(options)


def _alias(name: str, alias: ModelAlias) -> ModelClient:
    _need_openai()
    key = alias.api_key.get_secret_value() if alias.api_key else ""
    if alias.api_key_env:
        key = _key((alias.api_key_env,), f"the model {name!r} in monitor.toml")
    price = None
    if alias.input_price is not None and alias.output_price is not None:
        price = pricing.FlatPrice(alias.input_price, alias.output_price, alias.cached_price)
    return OpenAIModel(
        alias.model,
        name=name,
        base_url=alias.base_url,
        api_key=key,
        context_tokens=alias.context_tokens,
        price=price,
        token_evidence=alias.token_evidence,
        timeout=alias.timeout,
    )


def _openai(name: str, model: str) -> ModelClient:
    _need_openai()
    key = _key(_KEY_VARIABLES["openai"], f"the model {name!r}")
    base_url = os.environ.get("OPENAI_BASE_URL") or _OPENAI_URL
    # Behind another URL the name may mean another model at another price.
    listed = base_url.rstrip("/") == _OPENAI_URL
    return OpenAIModel(
        model,
        name=name,
        base_url=base_url,
        api_key=key,
        context_tokens=pricing.context_of("openai", model) if listed else None,
        price=pricing.price_of("openai", model) if listed else None,
    )


def _langchain(name: str, provider: str, model: str, aliases: Mapping[str, ModelAlias]) -> ModelClient:
    if find_spec("langchain") is None:
        raise MissingExtraError("LangChain, through which this provider is reached,", "models")
    if provider in _KEY_VARIABLES:
        _key(_KEY_VARIABLES[provider], f"the model {name!r}")
    from monitor.models.langchain_client import LangChainModel  # noqa: PLC0415 - loads LangChain

    return LangChainModel(
        _chat_model(name, provider, model, aliases),
        name=name,
        context_tokens=pricing.context_of(provider, model),
        price=pricing.price_of(provider, model),
    )


def _chat_model(name: str, provider: str, model: str, aliases: Mapping[str, ModelAlias]) -> BaseChatModel:
    from langchain.chat_models import init_chat_model  # noqa: PLC0415 - takes a second to load

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # classes without retries warn that they do not know max_retries
            return init_chat_model(model, model_provider=provider, max_retries=0)
    except ImportError as exc:
        problem = f"the model {name!r} needs a package that is not installed. {secrets.clean(str(exc))}"
    except ValueError as exc:
        known = "Unsupported provider" in str(exc)
        problem = f"no provider is called {provider!r}. {_possible(aliases)}" if known else _refused(name, exc)
    except Exception as exc:  # noqa: BLE001 - whatever a provider's class raises when it is made, it was set up wrongly
        problem = _refused(name, exc)
    raise ConfigError(problem)


def _refused(name: str, exc: Exception) -> str:
    return f"the model {name!r} cannot be set up: {type(exc).__name__}: {secrets.clean(str(exc))}"


def _need_openai() -> None:
    if find_spec("openai") is None:
        raise MissingExtraError("the client for OpenAI-compatible endpoints (openai)", "models")


def _key(variables: tuple[str, ...], whose: str) -> str:
    for variable in variables:
        if key := os.environ.get(variable):
            secrets.register(key)
            return key
    raise ConfigError(f"{whose} needs a key: set the environment variable {' or '.join(variables)}")


def _possible(aliases: Mapping[str, ModelAlias]) -> str:
    named = f"an alias from monitor.toml ({', '.join(sorted(aliases))})" if aliases else "an alias from monitor.toml"
    return (
        f"Possible are: {EMBEDDED}, {named}, or PROVIDER:NAME as in openai:gpt-5-mini, anthropic:claude-sonnet-4-5 or "
        "ollama:qwen3"
    )
