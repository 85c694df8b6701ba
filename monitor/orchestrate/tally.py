"""What a run keeps of each subcall that is judged. Little, for there may be very many of them; the store has the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from monitor.records import Finding, StoredSubcall, Usage, Verdict


class Judged(NamedTuple):
    """What a judged subcall adds to its run.

    ``below`` is the span that it hangs under, ``findings`` are those that matched or could not be evaluated, ``asks_human``
    tells whether it waited for a person when it was judged.
    """

    span_id: str
    below: str
    charged: Usage
    verdict: Verdict
    findings: tuple[Finding, ...]
    is_trusted: bool
    is_checked: bool
    asks_human: bool

    @classmethod
    def of(cls, subcall: StoredSubcall) -> Judged:
        """What to keep of a subcall, which must be judged."""
        assert subcall.judgement is not None
        return cls(
            subcall.call.span_id,
            subcall.call.retry_of or subcall.call.parent_id or "",
            subcall.charged,
            subcall.judgement.verdict,
            tuple([finding for finding in subcall.judgement.findings if finding.speaks]),
            subcall.call.trust == "trusted",
            subcall.call.checked,
            subcall.judgement.asks_human,
        )
