"""Foreign exceptions become ``ProviderError``s, once, at the boundary, cleaned of keys.

A foreign exception is never chained to ours: it holds the request with its ``Authorization`` header, and its text may
repeat the key in forms nobody has thought of. Its class and its cleaned text are in our message instead. Raise what
``translate`` returns *after* the ``except`` block, so that not even ``__context__`` refers to the original.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from monitor.errors import ProviderError
from monitor.models.secrets import clean

MAX_MESSAGE = 2000
"""Codepoints of a foreign error that are kept."""

_BEFORE_SENDING = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL")
_CONNECTION_BASES = ("APIConnectionError", "TransportError", "ConnectionError", "RequestError")


def translate(exc: BaseException, *, model: str = "", is_whole: bool = False) -> ProviderError:
    """Turn whatever a provider's SDK raised into a ``ProviderError`` without a key in it.

    Works by the shape of the exception (an HTTP status, the names of its bases), so that it needs no SDK to be imported
    and knows those of providers that are not installed here. ``billed_unknown`` is true unless the provider certainly
    did no work: it answered with an error status, or the request was never sent. The message is cut short, unless
    ``is_whole``: where whoever asked gets the exception itself, all that it says is to be judged.
    """
    if isinstance(exc, ProviderError):
        return exc
    said = _said(exc, is_whole=is_whole)
    status = _status(exc)
    if status is not None:
        return _from_status(exc, status, model, said)
    names = {cls.__name__ for link in _chain(exc) for cls in type(link).__mro__}
    sent = not names.intersection(_BEFORE_SENDING)
    if isinstance(exc, (TimeoutError, asyncio.TimeoutError)) or any("Timeout" in name for name in names):
        return ProviderError(
            _message(exc, model, said, "gave no answer in time"),
            kind="timeout",
            retryable=True,
            billed_unknown=sent,
        )
    if names.intersection(_CONNECTION_BASES):
        problem = "broke off the connection" if sent else "cannot be reached"
        return ProviderError(
            _message(exc, model, said, problem), kind="connection", retryable=True, billed_unknown=sent
        )
    if "APIError" in names and "APIResponseValidationError" not in names:  # an error event in a stream that began well
        message = _message(exc, model, said, "failed in the middle of its answer")
        return ProviderError(message, kind="server_error", retryable=True, billed_unknown=True)
    if isinstance(exc, UnicodeEncodeError):
        return ProviderError(
            _message(exc, model, said, "was not asked: the request cannot be encoded"), kind="bad_request"
        )
    return ProviderError(
        _message(exc, model, said, "gave an answer that cannot be read"), kind="invalid_response", billed_unknown=True
    )


def invalid_response(problem: str, *, model: str = "") -> ProviderError:
    """The error for an answer that arrived and cannot be used; ``problem`` says why."""
    message = clean(f"{model or 'the provider'} gave an answer that cannot be read: {problem}")
    return ProviderError(message, kind="invalid_response", billed_unknown=True)


def _from_status(exc: BaseException, status: int, model: str, said: str) -> ProviderError:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        kind, advice = "auth", "refused the key; check it, and that it may use this model"
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        kind, advice = "rate_limit", "asks for fewer requests or has no quota left"
    elif status == HTTPStatus.REQUEST_TIMEOUT:
        kind, advice = "timeout", "gave up waiting"
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind, advice = "server_error", "failed"
    else:
        kind, advice = "bad_request", "did not accept the request"
    retryable = kind in {"rate_limit", "server_error", "timeout"}
    return ProviderError(
        _message(exc, model, said, f"{advice} (HTTP {status})"), kind=kind, status=status, retryable=retryable
    )


def _status(exc: BaseException) -> int | None:
    """The HTTP status of an answer, wherever the SDKs put it; None where there was no answer with an error status."""
    response = getattr(exc, "response", None)
    for holder in (exc, response):
        for name in ("status_code", "status", "http_status"):
            value: Any = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
                return value
    return None


def _chain(exc: BaseException) -> list[BaseException]:
    """The exception and what caused it: SDKs hide the telling class (``ConnectError``) one or two links down."""
    links: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in links and len(links) < 8:
        links.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return links


def _said(exc: BaseException, *, is_whole: bool) -> str:
    # Cleaned before it is cut: a key across the cut would leave its first half.
    said = clean(str(exc)) or "no details"
    return said if is_whole or len(said) <= MAX_MESSAGE else f"{said[:MAX_MESSAGE]}…"


def _message(exc: BaseException, model: str, said: str, problem: str) -> str:
    module = type(exc).__module__.partition(".")[0]
    return f"{clean(model) or 'the provider'} {problem}: {module}.{type(exc).__name__}: {said}"
