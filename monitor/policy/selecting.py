"""Choosing records by lines in the language of rules: ``role: worker``, ``usage.output_tokens|gt: 1000``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor import strict_yaml
from monitor.errors import Fault, PolicyError
from monitor.policy.clauses import TextClause
from monitor.policy.detection import compile_detection
from monitor.policy.evaluation import evaluate
from monitor.policy.matching import TEXT_CAP, engine_of
from monitor.policy.record_readings import RecordReadings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.policy.readings import Field
    from monitor.records import Record, Status

_PLACE = "--where"


class Selector:
    """A detection by itself, which says of each record whether it is one of those that are looked for."""

    def __init__(self, lines: Sequence[str]) -> None:
        """Compile ``lines``, all of which must hold. Raises PolicyError with every fault."""
        faults: list[Fault] = []
        body = "".join(f"  {line}\n" for line in lines)
        node = strict_yaml.parse(f"chosen:\n{body}condition: chosen\n", _PLACE, faults)
        detection = compile_detection(node, _PLACE, faults) if node is not None and not faults else None
        if detection is None or faults:
            raise PolicyError(
                [Fault(_PLACE, max(1, one.line - 1), max(1, one.column - 2), one.problem, one.fix) for one in faults]
            )
        self._detection = detection
        self._wanted: dict[Field, set[str]] = {}
        for selection in detection.selections.values():
            for clause in selection.clauses:
                if isinstance(clause, TextClause):
                    self._wanted.setdefault(clause.field, set()).update(clause.patterns)
        patterns = sorted({pattern for found in self._wanted.values() for pattern in found})
        self._engine = engine_of(tuple(patterns), TEXT_CAP)

    def says(self, record: Record) -> tuple[Status, str]:
        """Whether the record is one of them: ``match`` or ``no_match``, or why that cannot be told."""
        status, cause, _ = evaluate(self._detection, RecordReadings(record, self._wanted, self._engine))
        return status, cause
