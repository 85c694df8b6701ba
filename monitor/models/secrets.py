"""Keys stay out of the store, out of logs and out of error messages: text is cleaned before it leaves ``monitor.models``.

Known are the keys that were registered and the values of environment variables whose names say that they are secret.
They are found as they are and in the forms in which servers echo them: URL-encoded, base64, JSON- and repr-escaped. What
follows ``Bearer`` goes whatever it is.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import re2

from monitor.canonical import guard_text

if TYPE_CHECKING:
    from collections.abc import Iterator

REMOVED = "[key removed]"
MIN_LENGTH = 6
"""Shorter values are not removed: they are placeholders (``none``, ``EMPTY``), and would tear holes into plain words."""

_SECRET_ENDINGS = ("_API_KEY", "_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_BEARER = re2.compile(r"(?i)\b(bearer|basic)(\s+|%20|\+)[A-Za-z0-9._~+/=*%\-]{6,}")
_URL_PASSWORD = re2.compile(r"(://)[^/\s@'\"]+@")
_OPENAI_KEY = re2.compile(r"\bsk-[A-Za-z0-9_*\-]{8,}")

_GUARDED_LOGGERS = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "langchain", "anthropic", "ollama", "urllib3")

_registered: set[str] = set()
_guard = threading.Lock()
_guarding = False


def register(secret: str) -> None:
    """Remember a key, so that ``clean`` removes it from now on in this process. Values shorter than 6 are ignored."""
    if len(secret) >= MIN_LENGTH:
        _registered.add(secret)


def clean(text: str) -> str:
    """Return ``text`` with every known key, in any of its forms, replaced by ``[key removed]``.

    NUL and lone surrogates, which RE2 and the store refuse, come back escaped.
    """
    text = guard_text(text)
    for form in sorted(_forms(), key=len, reverse=True):
        if form in text:
            text = text.replace(form, REMOVED)
    text = _BEARER.sub(rf"\1\2{REMOVED}", text)
    text = _URL_PASSWORD.sub(rf"\1{REMOVED}@", text)
    return str(_OPENAI_KEY.sub(REMOVED, text))


def guard_logs() -> None:
    """Clean what the providers' HTTP libraries log from now on, at any level, headers and tracebacks included.

    Wraps the process's log record factory (loggers' own filters do not see what their children log); records of other
    loggers pass untouched. Calling it again changes nothing.
    """
    global _guarding  # noqa: PLW0603 - the record factory is the process's, so this is too
    with _guard:
        if _guarding:
            return
        _guarding = True
        wrapped = logging.getLogRecordFactory()

        def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = wrapped(*args, **kwargs)
            if record.name.partition(".")[0].partition("_")[0] in _GUARDED_LOGGERS:
                _clean_record(record)
            return record

        logging.setLogRecordFactory(factory)


def _clean_record(record: logging.LogRecord) -> None:
    record.msg, record.args = clean(record.getMessage()), ()
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = clean("".join(traceback.format_exception(*record.exc_info)).rstrip())
        record.exc_info = None


def _known() -> Iterator[str]:
    yield from tuple(_registered)
    for name, value in os.environ.items():
        if len(value) >= MIN_LENGTH and name.upper().endswith(_SECRET_ENDINGS):
            yield value


def _forms() -> set[str]:
    """Every known key in every form that servers and libraries are known to echo."""
    forms: set[str] = set()
    for secret in _known():
        raw = secret.encode("utf-8", "surrogatepass")
        forms |= {secret, quote(raw), quote(raw, safe=""), quote_plus(raw), repr(secret)[1:-1]}
        forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
            forms |= {encoded.decode(), encoded.decode().rstrip("=")}
    return forms
