"""The append-only event store: every thought is here before anyone may use it. See ``docs/design/store.md``."""

from monitor.store.event_store import Store
from monitor.store.facts import StoreFacts
from monitor.store.location import without_password
from monitor.store.opening import inspect
from monitor.store.reader import StoredEvent
from monitor.store.scanning import Scanned, Wanted

__all__ = ["Scanned", "Store", "StoreFacts", "StoredEvent", "Wanted", "inspect", "without_password"]
