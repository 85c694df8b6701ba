"""llama.cpp's OpenAI-compatible server inside this process: one for each set of options, started on first use.

It listens on a free loopback port behind a random key, writes nothing to stdout or stderr, and is closed at exit,
however the process exits short of a signal that cannot be caught (the server is threads of this process, so then it
dies with it).
"""

from __future__ import annotations

import atexit
import os
import secrets as random_secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.errors import MissingExtraError, WeightsError
from monitor.models import secrets, weights

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.settings import EmbeddedOptions

MODEL_ALIAS = "embedded"
_SILENT = -1


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running server listens, and the key that it asks for."""

    url: str
    api_key: str


_lock = threading.Lock()
_servers: dict[EmbeddedOptions, tuple[Any, Address]] = {}


def start(options: EmbeddedOptions) -> Address:
    """The address of the server for these options, started now if it is not running (blocks for about a second).

    Raises:
        MissingExtraError: xllamacpp is not installed.
        WeightsError: the weights are missing or not what they should be, or llama.cpp cannot load them.
    """
    with _lock:
        if options not in _servers:
            if not _servers:
                atexit.register(stop_all)
            _servers[options] = _start(options)
        return _servers[options][1]


def stop_all() -> None:
    """Close every server of this process; calls in flight end with a broken connection."""
    with _lock:
        _servers.clear()  # the extension closes a server when its last reference goes


def _start(options: EmbeddedOptions) -> tuple[Any, Address]:
    try:
        import xllamacpp  # noqa: PLC0415 - loads llama.cpp: only when the embedded model is used
    except ImportError:
        raise MissingExtraError("the embedded model's engine (xllamacpp)", "embedded") from None
    path = options.path or weights.locate()
    if not path.is_file():
        raise WeightsError(f"no such file: {path} (the embedded model's path is to be a GGUF file)")
    os.environ.setdefault("LLGUIDANCE_LOG_LEVEL", "0")  # the grammar engine's warnings would go to our stderr
    api_key = random_secrets.token_hex(16)
    secrets.register(api_key)
    try:
        server = xllamacpp.Server(_params(xllamacpp.CommonParams(), path, options, api_key))
    except RuntimeError as exc:
        raise WeightsError(f"llama.cpp cannot load {path}: {exc}; expected a GGUF file of a chat model") from None
    return server, Address(server.listening_address, api_key)


def _params(params: Any, path: Path, options: EmbeddedOptions, api_key: str) -> Any:
    # One core is left alone: llama.cpp's threads wait for each other at every layer, and where another process takes a
    # core from one of them all of them stand still (measured on 2 busy cores: 8 tokens/s with 2 threads, 74 with 1).
    threads = options.threads or max(1, (os.cpu_count() or 1) - 1)
    params.model.path = str(path)
    params.model_alias = {MODEL_ALIAS}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.n_parallel = options.parallel
    params.n_ctx = options.context_tokens * options.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = options.gpu_layers
    params.cache_prompt = options.prompt_cache
    params.ui = params.endpoint_metrics = params.endpoint_slots = False
    params.warmup = params.fit_params = False
    params.verbosity = _SILENT
    return params
