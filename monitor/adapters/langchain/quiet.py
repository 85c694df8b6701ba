"""Nothing of an answer is streamed before it is judged: the handlers that stream are kept from a call under way.

LangGraph and ``astream_events`` stream by callbacks. Without them a model answers in one piece; once it is judged, the
message is streamed whole, as what the node returned. Other callbacks of the user's (tracers) see the call as ever.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler, _V2StreamingCallbackHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.runnables import RunnableConfig


@contextmanager
def quietly(config: dict[str, Any] | None = None) -> Iterator[None]:
    """Hold the streaming handlers back from what is called in here: by LangChain's context, or by ``config`` itself."""
    present: Any = config if config is not None else var_child_runnable_config.get()
    callbacks = present.get("callbacks") if present else None
    if not isinstance(callbacks, BaseCallbackManager):
        yield
        return
    quiet = callbacks.copy()
    quiet.handlers = [handler for handler in callbacks.handlers if not _streams(handler)]
    quiet.inheritable_handlers = [handler for handler in callbacks.inheritable_handlers if not _streams(handler)]
    token = var_child_runnable_config.set(cast("RunnableConfig", {**present, "callbacks": quiet}))
    if config is not None:
        config["callbacks"] = quiet
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)
        if config is not None:
            config["callbacks"] = callbacks


def _streams(handler: Any) -> bool:
    return isinstance(handler, _StreamingCallbackHandler | _V2StreamingCallbackHandler)
