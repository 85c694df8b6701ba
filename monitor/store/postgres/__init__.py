"""A store in a PostgreSQL database: many writers, one sequencer of the Merkle log."""

from monitor.store.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
