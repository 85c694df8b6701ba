"""Full text search over the record, the same for both databases: ``TextSearch``."""

from monitor.store.search.finding import Filters, Found, Hit, TextSearch
from monitor.store.search.index import SURFACES, PostgresWords, SqliteWords, forget_text
from monitor.store.search.syntax import SearchError, parse

__all__ = [
    "SURFACES",
    "Filters",
    "Found",
    "Hit",
    "PostgresWords",
    "SearchError",
    "SqliteWords",
    "TextSearch",
    "forget_text",
    "parse",
]
