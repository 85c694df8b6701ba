"""Alembic migrations of the store, run by ``monitor.store.schema``; revisions are ``0001``, ``0002`` and so on."""
