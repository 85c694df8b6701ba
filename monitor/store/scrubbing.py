"""What became of the bytes of erased texts in the files of a database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """``done`` tells whether nothing of what was erased is left in the database's own files, as far as this process sees.

    ``left`` says what is still to be done and by whom, or what lies outside of the database: backups beside the file, a
    server's write-ahead log.
    """

    done: bool
    left: tuple[str, ...] = ()
