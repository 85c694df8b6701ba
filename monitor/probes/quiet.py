"""Transformers without its bars and advice on stderr: what a person is to know, the monitor says itself."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transformers.utils import logging as _logging

if TYPE_CHECKING:
    from collections.abc import Iterator


logging: Any = _logging  # half of its functions have no types
_one_at_a_time = (
    threading.RLock()
)  # what is set is the process's: who came second would bring back the first one's silence


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, and only errors, until the block ends; one thread at a time."""
    with _one_at_a_time:
        bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
