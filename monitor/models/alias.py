"""What ``monitor.toml`` may say of models: aliases for endpoints, and how the embedded model is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ModelAlias(BaseModel):
    """One ``[models.NAME]`` table: a model at an OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama's ``/v1``, …).

    Prices are US dollars per million tokens; without ``input_price`` and ``output_price`` the price is unknown, which is
    not zero. ``token_evidence`` asks the endpoint for token ids and log probabilities: set it only where the server
    knows the fields (llama.cpp, vLLM). The key is ``api_key``, or better the environment variable ``api_key_env``; with
    neither, none is sent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str = Field(min_length=1)
    base_url: str = Field(pattern=r"^https?://")
    api_key_env: str | None = None
    api_key: SecretStr | None = None
    context_tokens: int | None = Field(default=None, gt=0)
    input_price: float | None = Field(default=None, ge=0)
    output_price: float | None = Field(default=None, ge=0)
    cached_price: float | None = Field(default=None, ge=0)
    token_evidence: bool = False
    timeout: float = Field(default=600.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> ModelAlias:
        if self.api_key is not None and self.api_key_env is not None:
            raise ValueError("api_key and api_key_env are both given: keep one")
        if (self.input_price is None) != (self.output_price is None):
            raise ValueError("input_price and output_price go together: give both, or neither if the price is unknown")
        if self.cached_price is not None and self.input_price is None:
            raise ValueError("cached_price needs input_price and output_price")
        return self


def read_aliases(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, ModelAlias]:
    """The aliases in the ``[models.NAME]`` tables of a ``monitor.toml``.

    Raises:
        ConfigError: has every fault of every table; no value is quoted, for it may be a key.
    """
    aliases, faults = {}, []
    for name, table in tables.items():
        try:
            aliases[name] = ModelAlias.model_validate(table)
        except ValidationError as exc:
            for fault in exc.errors(include_input=False, include_url=False):
                where = ".".join(["models", name, *map(str, fault["loc"])])
                faults.append(f"{where}: {fault['msg']}")
    if faults:
        raise ConfigError("\n".join(faults))
    return aliases
