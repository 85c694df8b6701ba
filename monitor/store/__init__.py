"""The append-only event store: every thought is here before anyone may use it. See ``docs/design/store.md``."""

from monitor.store.bulk import Bulk, Extent, Found, RunExtent
from monitor.store.event_store import Store
from monitor.store.facts import StoreFacts
from monitor.store.location import without_password
from monitor.store.opening import inspect
from monitor.store.reader import StoredEvent
from monitor.store.scanning import Scanned, Wanted
from monitor.store.scans import ScanLog, ScanResult, StoredScan

__all__ = [
    "Bulk",
    "Extent",
    "Found",
    "RunExtent",
    "ScanLog",
    "ScanResult",
    "Scanned",
    "Store",
    "StoreFacts",
    "StoredEvent",
    "StoredScan",
    "Wanted",
    "inspect",
    "without_password",
]
