"""Alembic's entry point. The connection, already inside a write transaction, comes through ``monitor.store.schema``."""

from alembic import context
from sqlmodel import SQLModel

import monitor.store.tables  # noqa: F401 - fills SQLModel.metadata, which autogenerate compares with

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    version_table=context.config.attributes["version_table"],
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
