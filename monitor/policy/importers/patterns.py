"""A JavaScript pattern into one that RE2 takes and that matches the same texts."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.policy.importers import javascript, lookaround
from monitor.policy.importers.reasons import Reason, UnreadableError
from monitor.policy.importers.regex_nodes import has_look, to_re2
from monitor.policy.importers.steps import Steps
from monitor.policy.matching import MAX_PROGRAM, PatternError, compile_pattern

_MAX_LENGTH = 50_000


@dataclass(frozen=True, slots=True)
class Translated:
    """A pattern for ``re|i``, or for ``re`` where case counts. ``notes`` say what the two engines still see differently."""

    text: str
    notes: tuple[Reason, ...] = ()


def translate(
    pattern: str, *, unicode: bool = False, ignore_case: bool = True, steps: Steps | None = None
) -> Translated:
    """The pattern in RE2's words; ``unicode`` and ``ignore_case`` are JavaScript's flags ``u`` and ``i``.

    What it costs is taken from ``steps``.

    Raises:
        UnreadableError: with the reason, where there is no exact equal.
    """
    steps = steps or Steps()
    if len(pattern) > _MAX_LENGTH:
        raise UnreadableError(Reason.REGEX_TOO_LARGE, f"the pattern has {len(pattern):,} characters")
    steps.take(10 * len(pattern))
    try:
        parsed = javascript.parse(pattern, unicode=unicode)
        if not ignore_case and has_look(parsed.tree):
            raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround where case counts")
        text = to_re2(lookaround.rewrite(parsed.tree, steps))
    except RecursionError:
        raise UnreadableError(Reason.REGEX_TOO_LARGE, "the pattern is nested too deeply") from None
    _compile(text, steps)
    return Translated(text, (Reason.CHARACTERS_NOT_HALVES,) if parsed.halves else ())


def _compile(text: str, steps: Steps) -> None:
    """Raises UnreadableError where our loader would refuse it."""
    steps.take(len(text))
    try:
        size = compile_pattern(text).programsize + compile_pattern(f"(?i:{text})").programsize
    except PatternError as exc:
        steps.take(2 * MAX_PROGRAM)
        raise UnreadableError(Reason.REGEX_TOO_LARGE, f"RE2 or our bound refuses it: {str(exc)[:200]}") from None
    steps.take(size)
