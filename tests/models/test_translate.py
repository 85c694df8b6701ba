"""Foreign exceptions by their shape, those of SDKs that are not installed here included."""

from __future__ import annotations

import httpx
import httpx2
import pytest

from monitor.errors import ProviderError
from monitor.models.translate import MAX_MESSAGE, translate


class Response:
    status_code = 529


class OverloadedError(Exception):
    """As Anthropic's SDK has it: the status on the response."""

    response = Response()


class ClientError(Exception):
    """As botocore and google have it in some versions: the status as ``code`` of ours and nothing more."""

    http_status = 403


def caused(cause: BaseException) -> Exception:
    exc = Exception("wrapped")
    exc.__cause__ = cause
    return exc


@pytest.mark.parametrize(
    ("exc", "kind", "status", "billed_unknown"),
    [
        (OverloadedError("overloaded"), "server_error", 529, False),
        (ClientError("no"), "auth", 403, False),
        (TimeoutError(), "timeout", None, True),
        (httpx.ReadTimeout("slow"), "timeout", None, True),
        (httpx2.ConnectTimeout("slow"), "timeout", None, False),
        (httpx.ConnectError("refused"), "connection", None, False),
        (httpx2.RemoteProtocolError("cut"), "connection", None, True),
        (caused(httpx.ConnectError("refused")), "connection", None, False),
        (ConnectionResetError(104, "reset"), "connection", None, True),
        (ValueError("not JSON"), "invalid_response", None, True),
        ("\ud800".encode, "bad_request", None, False),
    ],
)
def test_the_kind_is_read_from_the_shape(exc: Exception, kind: str, status: int | None, billed_unknown: bool) -> None:
    if callable(exc):
        with pytest.raises(UnicodeEncodeError) as caught:
            exc()
        exc = caught.value

    error = translate(exc, model="far")

    assert (error.kind, error.status, error.billed_unknown) == (kind, status, billed_unknown)
    assert str(error).startswith("far ")
    assert type(exc).__name__ in str(error)


def test_our_own_errors_pass_through() -> None:
    error = ProviderError("busy", kind="rate_limit")

    assert translate(error) is error


def test_a_long_message_is_cut() -> None:
    assert len(str(translate(ValueError("x" * 10**6)))) < MAX_MESSAGE + 200
