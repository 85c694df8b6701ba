"""A stub on loopback, a database, and a pack that withholds what is marked, wherever it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from monitor.store import Store
from tests.stubs.openai_stub import OpenAIStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openai import OpenAI

    from monitor.records import StoredRun, StoredSubcall

RULE = """
  - title: A planted word in the {name}
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a{number:02d}
    name: planted_{name}
    level: high
    action: {action}
    detection: {{s: {{"{field}|contains": {word}}}, condition: s}}
"""
FIELDS = {"reasoning": "reasoning", "output": "output", "arguments": "tool.arguments", "history": "tool.result"}


@dataclass(frozen=True, slots=True)
class Desk:
    """What a test works with."""

    stub: OpenAIStub
    db: str
    pack: str
    clients: list[OpenAI] = field(default_factory=list)

    def subcalls(self) -> list[StoredSubcall]:
        """Those of the latest run."""
        with Store.open(self.db) as store:
            return list(store.subcalls(self.run().start.run_id))

    def run(self) -> StoredRun:
        with Store.open(self.db) as store:
            return store.runs(limit=1)[0]

    def all_runs(self) -> list[StoredRun]:
        with Store.open(self.db) as store:
            return list(store.runs())

    def bodies(self) -> list[dict[str, Any]]:
        return [request.body for request in self.stub.requests]


@pytest.fixture
def desk(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Desk]:
    pack = tmp_path / "planted.yaml"
    rules = [
        RULE.format(name=name, field=field, number=number, action="withhold", word="ALARM")
        for number, (name, field) in enumerate(FIELDS.items())
    ]
    rules.append(RULE.format(name="secret", field="output", number=90, action="redact", word="SECRET"))
    pack.write_text("pack: planted\nversion: 1.0.0\nrules:" + "".join(rules), encoding="utf-8")
    with OpenAIStub() as stub:
        made = Desk(stub, new_database(), str(pack))
        yield made
        for client in made.clients:
            client.close()
