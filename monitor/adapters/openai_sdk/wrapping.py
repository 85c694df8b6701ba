"""``monitor.wrap(client)``: a client of the same type, whose model calls are stored and judged before anybody has them.

    client = monitor.wrap(OpenAI(), policy=["core"], budget=Limits(calls=20))

It shares the connections of the client that it is made from, which itself stays as it was.
"""

from __future__ import annotations

import contextvars
import logging
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

from monitor.adapters.observing import Standing
from monitor.adapters.openai_sdk.chat import Chat
from monitor.adapters.openai_sdk.releasing import Releasing
from monitor.adapters.openai_sdk.responses import Responses
from monitor.adapters.openai_sdk.sending import Asking, Sending
from monitor.adapters.openai_sdk.wire import ADAPTER, object_of
from monitor.adapters.options import Options
from monitor.adapters.places import current
from monitor.errors import ConfigError, MissingExtraError
from monitor.models import secrets
from monitor.models.pricing import price_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.adapters.openai_sdk.wire import Format
    from monitor.adapters.places import Place
    from monitor.models.base import Price

logger = logging.getLogger(__name__)
Client = TypeVar("Client")

OFFICIAL_HOST = "api.openai.com"
_FORMATS: dict[str, Format] = {"/chat/completions": Chat(), "/responses": Responses()}
_asking: contextvars.ContextVar[Asking | None] = contextvars.ContextVar("monitor_openai_asking", default=None)


def wrap(
    client: Client,
    *,
    name: str = "openai",
    role: str = "assistant",
    price: Price | None = None,
    stream_usage: bool = True,
    stream: Literal["judged", "window"] = "judged",
    **options: Any,
) -> Client:
    """Take the model calls of an OpenAI SDK client through the door: Chat Completions and Responses, sync and async.

    Inside ``monitor.observed_run`` they belong to that run, its policy and its budget. Outside of any, each call is a run
    of its own, and then ``options`` say how it is observed.

    Args:
        client: An ``OpenAI`` or ``AsyncOpenAI``, or one of their subclasses. It is left as it was.
        name: What a run is called that a call makes for itself.
        role: What the record calls whoever answers.
        price: The model's prices; default: OpenAI's list prices for OpenAI's and Azure's endpoints, else unknown.
        stream_usage: Ask for the usage of a stream where the caller does not (and keep that from the caller); a server
            that refuses ``stream_options`` needs False, and then streams are charged by their bytes.
        stream: When a stream is handed on: ``judged``, all of it at once when it is judged; or ``window``, as it comes, but
            for as many codepoints as a rule that acts can still match. Each part is stored before it is handed on, and the
            record says ``released_before_final``. Every rule that acts must allow it: ``monitor policy lint --windows``.
        options: ``policy``, ``budget``, ``probes``, ``db`` and the others of ``observed_run``.

    Returns:
        A client of the same type. Its calls raise, besides what the SDK raises:
        SubcallError: the answer is withheld (Blocked, Rejected), or the run has no budget left (BudgetExceeded).

    Raises:
        ConfigError: it is no client of the OpenAI SDK, or of a version whose requests cannot be observed; or ``stream`` is
            ``window``, and a rule of ``policy`` does not allow that.
        MissingExtraError: the SDK is not installed.
    """
    try:
        from openai import AsyncOpenAI, OpenAI  # noqa: PLC0415 - takes a second, and only here
    except ImportError:
        raise MissingExtraError("the OpenAI SDK", "models") from None
    if not isinstance(client, OpenAI | AsyncOpenAI):
        raise ConfigError(f"wrap() takes a client of the OpenAI SDK, OpenAI or AsyncOpenAI; found {client!r}")
    kind = type(client)
    if hasattr(kind, "_monitor"):
        raise ConfigError("this client is wrapped already: wrap the one that it was made from")
    if not callable(getattr(kind, "_send_request", None)):
        raise ConfigError("this version of the OpenAI SDK sends its requests another way: install openai 3.54 to 3.x")
    if stream not in {"judged", "window"}:
        raise ConfigError(f"stream= is when streams are handed on, 'judged' or 'window'; found {stream!r}")
    secrets.register(client.api_key)
    secrets.guard_logs()
    told = _Told(name, role, price, stream_usage, Options(**options), is_window=stream == "window")
    if stream == "window" and options.get("policy") is not None:
        told.options.windows(ADAPTER)
    methods = _sync(kind, told) if isinstance(client, OpenAI) else _async(kind, told)
    own = {"_monitor": told, "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    made = client.with_options()
    made.__class__ = type(kind.__name__, (kind,), own | methods)  # so its own copies are of that class, too
    return cast("Client", made)


class _Told:
    """What a client was wrapped with."""

    def __init__(
        self, name: str, role: str, price: Price | None, stream_usage: bool, options: Options, *, is_window: bool
    ) -> None:
        self.name, self.options, self._is_window = name, options, is_window
        self._unobserved: set[str] = set()
        self._role, self._price, self._stream_usage = role, price, stream_usage

    def format_of(self, options: Any) -> Format | None:
        """The format of a request that is observed, or None for every other: of what it asks the log says so, once."""
        path = "/" + urlsplit(options.url).path.strip("/")
        is_post = options.method.lower() == "post"
        found = [form for end, form in _FORMATS.items() if path.endswith(end)]
        if is_post and not found and (kind := _kind_of(path)) not in self._unobserved:
            self._unobserved.add(kind)
            logger.warning("POST %s is not observed: its answer is neither stored nor checked", kind)
        return found[0] if found and is_post else None

    def task_of(self, form: Format, options: Any) -> str:
        """What is asked, for the record of a run of its own."""
        return form.asked(object_of(options.json_data), self._role).task

    def refuse(self, options: Any) -> None:
        """Refuse to release streams before their end, before anything is stored, where the policy does not allow it."""
        if self._is_window and object_of(options.json_data).get("stream") and current() is None:
            self.options.windows(ADAPTER)

    def asking(self, client: Any, form: Format, options: Any, place: Place, standing: Standing) -> Asking:
        """One call of the SDK. Raises ConfigError where its stream may not be released before its end."""
        windows = None
        if self._is_window and object_of(options.json_data).get("stream"):
            windows = place.run.windows(ADAPTER)
        host = client.base_url.host
        model = str(object_of(options.json_data).get("model") or "")
        return Asking(
            place=place,
            format=form,
            role=self._role,
            price=self._price or listed(host, model),
            is_official=host == OFFICIAL_HOST,
            stream_usage=self._stream_usage,
            error_of=client._make_status_error_from_response,
            windows=windows,
            standing=standing,
        )


def _kind_of(path: str) -> str:
    """A path without the ids in it."""
    return "/".join("…" if any(letter.isdigit() for letter in part) else part for part in path.split("/"))


@lru_cache(maxsize=256)
def listed(host: str, model: str) -> Price | None:
    """The list price of a model at a host, or None where it is not known."""
    if host == OFFICIAL_HOST:
        return price_of("openai", model)
    return price_of("azure", model) if host.endswith(".openai.azure.com") else None


@contextmanager
def _set(asking: Asking | None) -> Iterator[None]:
    token = _asking.set(asking)
    try:
        yield
    finally:
        _asking.reset(token)


def _sending(asking: Asking, request: Any) -> Sending:
    return Sending(asking, request) if asking.windows is None else Releasing(asking, request, asking.windows)


def _sync(kind: Any, told: _Told) -> dict[str, Any]:
    """What a wrapped ``OpenAI`` does otherwise: a call of the SDK, and one request of it."""

    def request(self: Any, cast_to: Any, options: Any, **how: Any) -> Any:
        form = told.format_of(options)
        if form is None:
            with _set(None):
                return kind.request(self, cast_to, options, **how)
        told.refuse(options)
        standing = Standing(told.task_of(form, options), told.name, told.options)
        with standing as place, _set(told.asking(self, form, options, place, standing)):
            return kind.request(self, cast_to, options, **how)

    def _send_request(self: Any, request: Any, *, stream: bool, **how: Any) -> Any:
        def send(ready: Any) -> Any:
            return kind._send_request(self, ready, stream=stream, **how)

        asking = _asking.get()
        return send(request) if asking is None else _sending(asking, request).sync(send, unread=stream)

    return {"request": request, "_send_request": _send_request}


def _async(kind: Any, told: _Told) -> dict[str, Any]:
    """As ``_sync``, of a wrapped ``AsyncOpenAI``."""

    async def request(self: Any, cast_to: Any, options: Any, **how: Any) -> Any:
        form = told.format_of(options)
        if form is None:
            with _set(None):
                return await kind.request(self, cast_to, options, **how)
        told.refuse(options)
        standing = Standing(told.task_of(form, options), told.name, told.options)
        async with standing as place:
            with _set(told.asking(self, form, options, place, standing)):
                return await kind.request(self, cast_to, options, **how)

    async def _send_request(self: Any, request: Any, *, stream: bool, **how: Any) -> Any:
        async def send(ready: Any) -> Any:
            return await kind._send_request(self, ready, stream=stream, **how)

        asking = _asking.get()
        if asking is None:
            return await send(request)
        return await _sending(asking, request).asynchronous(send, unread=stream)

    return {"request": request, "_send_request": _send_request}
