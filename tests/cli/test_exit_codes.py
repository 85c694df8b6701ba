"""Every outcome and every error has its exit code, and a withheld answer is no success."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor import errors
from monitor.cli.exit_codes import MEANINGS, ExitCode, for_error, for_outcome, table
from monitor.records import Judgement, Outcome, Verdict, VerdictValue

JUDGEMENT = Judgement(verdict=Verdict(value=VerdictValue.BLOCK), outcome=Outcome.BLOCKED)


def test_only_ok_is_a_success() -> None:
    assert [outcome for outcome in Outcome if for_outcome(outcome) is ExitCode.OK] == [Outcome.OK]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.MonitorError("x"), 1),
        (errors.CatalogError("x"), 2),
        (errors.PolicyError([]), 2),
        (errors.MissingExtraError("x", "models"), 2),
        (errors.Blocked("x", JUDGEMENT), 3),
        (errors.Halted("x", JUDGEMENT), 3),
        (errors.Rejected("x"), 3),
        (errors.BudgetExceeded("x", []), 4),
        (errors.ProviderError("x", kind="auth"), 5),
        (errors.WeightsError("x"), 5),
        (errors.SubcallFailed("x"), 5),
        (errors.StoreFormatError("x"), 6),
        (errors.SubcallCancelled("x"), 130),
    ],
)
def test_errors(error: errors.MonitorError, code: int) -> None:
    assert for_error(error) == code


def test_every_code_is_explained_in_the_help_and_in_the_docs() -> None:
    assert set(MEANINGS) == set(ExitCode)
    docs = (Path(__file__).parent.parent.parent / "docs/cli.md").read_text(encoding="utf-8")
    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning} |" in docs
        assert f"{code.value}  {meaning.replace('`', '')}" in table()
