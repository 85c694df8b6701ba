"""A store in one SQLite file: the library, the file, its locks, and what goes wrong with them."""

from monitor.store.sqlite.backend import SqliteBackend
from monitor.store.sqlite.connection import connect, driver

__all__ = ["SqliteBackend", "connect", "driver"]
