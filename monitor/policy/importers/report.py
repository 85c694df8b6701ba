"""What came of an import: of each file, of each of its conditions and of each of its tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.policy.importers.reasons import CONDITION, FILE, MEANINGS, NOTE

if TYPE_CHECKING:
    from monitor.policy.importers.reasons import Reason


class Result(StrEnum):
    """What became of a file. ``partly``: some condition is missing, and what is there says what it said."""

    IMPORTED = "imported"
    PARTLY = "partly"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Remark:
    """One reason from the closed list. ``where`` is the part of the file in words, ``line`` where it stands."""

    reason: Reason
    where: str
    detail: str = ""
    line: int = 1

    @property
    def kind(self) -> str:
        """What the reason is given for: the file, a condition, a test, or a mere note."""
        return MEANINGS[self.reason][0]


@dataclass(frozen=True, slots=True)
class TestReport:
    """One test of the file: taken over (and then our rule says what was expected), or left out for a reason."""

    __test__ = False  # pytest takes it for a test class otherwise

    name: str
    expected: str
    line: int
    left_out: Remark | None = None


@dataclass(slots=True)
class FileReport:
    """One file. ``conditions`` counts those that there are."""

    path: str
    foreign_id: str = ""
    title: str = ""
    rule: str = ""
    conditions: int = 0
    remarks: list[Remark] = field(default_factory=list)
    tests: list[TestReport] = field(default_factory=list)

    @property
    def result(self) -> Result:
        """From the remarks: one about the file refuses it, one about a condition leaves it partly there."""
        kinds = {remark.kind for remark in self.remarks}
        if FILE in kinds:
            return Result.REFUSED
        return Result.PARTLY if CONDITION in kinds else Result.IMPORTED

    @property
    def conditions_imported(self) -> int:
        """How many conditions are in the rule."""
        if self.result is Result.REFUSED:
            return 0
        return self.conditions - len({remark.where for remark in self.remarks if remark.kind == CONDITION})

    @property
    def tests_imported(self) -> int:
        """How many tests are in the rule."""
        return sum(test.left_out is None for test in self.tests)

    @property
    def notes(self) -> list[Remark]:
        """What is there and is not quite as it was."""
        return [remark for remark in self.remarks if remark.kind == NOTE]


@dataclass(frozen=True, slots=True)
class Imported:
    """All files, and the packs that were made: name → text. More than one where one would be above the loader's limit."""

    files: tuple[FileReport, ...]
    packs: dict[str, str]

    def count(self, result: Result) -> int:
        """How many files came out like that."""
        return sum(file.result is result for file in self.files)
