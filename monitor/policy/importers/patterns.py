"""A JavaScript pattern into one that RE2 takes and that matches the same texts."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.policy.importers import javascript, lookaround
from monitor.policy.importers.javascript import UnreadableError
from monitor.policy.importers.reasons import Reason
from monitor.policy.importers.regex_nodes import to_re2
from monitor.policy.matching import PatternError, compile_pattern

_MAX_LENGTH = 50_000


@dataclass(frozen=True, slots=True)
class Translated:
    """A pattern for ``re|i``, or for ``re`` where case counts. ``notes`` say what the two engines still see differently."""

    text: str
    notes: tuple[Reason, ...] = ()


def translate(pattern: str, *, unicode: bool = False, ignore_case: bool = True) -> Translated:
    """The pattern in RE2's words; ``unicode`` and ``ignore_case`` are JavaScript's flags ``u`` and ``i``.

    Raises:
        UnreadableError: with the reason, where there is no exact equal.
    """
    if len(pattern) > _MAX_LENGTH:
        raise UnreadableError(Reason.REGEX_TOO_LARGE, f"the pattern has {len(pattern):,} characters")
    try:
        parsed = javascript.parse(pattern, unicode=unicode)
        if not ignore_case and lookaround.has_look(parsed.tree):
            raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround where case counts")
        text = to_re2(lookaround.rewrite(parsed.tree))
    except RecursionError:
        raise UnreadableError(Reason.REGEX_TOO_LARGE, "the pattern is nested too deeply") from None
    try:
        compile_pattern(text)
        compile_pattern(f"(?i:{text})")
    except PatternError as exc:
        raise UnreadableError(Reason.REGEX_TOO_LARGE, f"RE2 refuses it: {str(exc)[:200]}") from None
    return Translated(text, (Reason.CHARACTERS_NOT_HALVES,) if parsed.halves else ())
