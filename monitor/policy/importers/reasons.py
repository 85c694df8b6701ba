"""Why a part of a foreign rule was not taken over, or not as it was: the closed list, for the report and the docs."""

from __future__ import annotations

from enum import StrEnum

from monitor.policy.lines import MAX_PHRASE


class Reason(StrEnum):
    """Every reason there is. ``MEANINGS`` says what each means, and for which part of a file it is given."""

    UNREADABLE = "unreadable"
    NOT_A_RULE = "not_a_rule"
    DUPLICATE_ID = "duplicate_id"
    DEPRECATED = "deprecated"
    METHOD = "method"
    EXPRESSION = "expression"
    NOTHING_LEFT = "nothing_left"
    NOT_LOADABLE = "not_loadable"
    CONDITION_SHAPE = "condition_shape"
    FIELD = "field"
    OPERATOR = "operator"
    THRESHOLD = "threshold"
    SEQUENCE = "sequence"
    REGEX_INVALID = "regex_invalid"
    REGEX_LOOKAROUND = "regex_lookaround"
    REGEX_BACKREFERENCE = "regex_backreference"
    REGEX_PROPERTY = "regex_property"
    REGEX_HALVES = "regex_halves"
    REGEX_TOO_LARGE = "regex_too_large"
    TOO_COSTLY = "too_costly"
    PHRASE_TOO_LONG = "phrase_too_long"
    TEST_SHAPE = "test_shape"
    TEST_NOT_LOADABLE = "test_not_loadable"
    TEST_EXPECTATION = "test_expectation"
    TEST_RULE_MISSING = "test_rule_missing"
    TEST_CONDITION_MISSING = "test_condition_missing"
    TEST_NORMALISATION = "test_normalisation"
    TEST_CODE_BLOCK = "test_code_block"
    TEST_DISAGREES = "test_disagrees"
    FLAGS_IGNORED = "flags_ignored"
    CHARACTERS_NOT_HALVES = "characters_not_halves"
    GATE_DROPPED = "gate_dropped"
    SEMANTIC_FALLBACK = "semantic_fallback"
    METADATA = "metadata"


class UnreadableError(Exception):
    """A pattern has no equal here; ``reason`` says why, ``detail`` names what stands in the way."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


FILE, CONDITION, TEST, NOTE = "file", "condition", "test", "note"

MEANINGS: dict[Reason, tuple[str, str]] = {
    Reason.UNREADABLE: (FILE, "the file cannot be read: no UTF-8, no YAML, repeated keys, above 1 MB, not there"),
    Reason.NOT_A_RULE: (FILE, "it is no rule: `id`, `title` or `detection` is missing or of another type"),
    Reason.DUPLICATE_ID: (FILE, "another file of the same import has this id already"),
    Reason.DEPRECATED: (FILE, "the rule is retired (`status: deprecated`); its own engine never runs it"),
    Reason.METHOD: (FILE, "the rule asks a judge, a trace of spans, a metric or a list of hashes, and not patterns"),
    Reason.EXPRESSION: (FILE, "`condition` is no expression over the conditions that are there"),
    Reason.NOTHING_LEFT: (
        FILE,
        "no condition could be taken over, or one that must hold could not: what is left would say something else",
    ),
    Reason.NOT_LOADABLE: (
        FILE,
        "our own loader refuses the rule as it came out (a rule above 0.9 MB, or a name that is taken, for instance)",
    ),
    Reason.CONDITION_SHAPE: (CONDITION, "the condition is no map, or has no field, no operator or no text to look for"),
    Reason.FIELD: (CONDITION, "no text of our record is what the field means"),
    Reason.OPERATOR: (CONDITION, "the operator is none that the peer's engine knows; there the condition never holds"),
    Reason.THRESHOLD: (CONDITION, "it compares a metric with a number, over a window of time"),
    Reason.SEQUENCE: (CONDITION, "it is about several events, in an order or within a time"),
    Reason.REGEX_INVALID: (
        CONDITION,
        "JavaScript does not take the pattern; there the condition never holds",
    ),
    Reason.REGEX_LOOKAROUND: (CONDITION, "a lookahead or lookbehind for which no exact equal was found"),
    Reason.REGEX_BACKREFERENCE: (CONDITION, "the pattern refers back to what a group matched (`\\1`)"),
    Reason.REGEX_PROPERTY: (CONDITION, "the pattern names characters by a property of Unicode (`\\p{…}`)"),
    Reason.REGEX_HALVES: (
        CONDITION,
        "the pattern looks for halves of characters (surrogates), which no stored text has",
    ),
    Reason.REGEX_TOO_LARGE: (
        CONDITION,
        "the pattern is too large for RE2 or for our loader's bound on what a pattern may cost, or repeats too often",
    ),
    Reason.TOO_COSTLY: (
        CONDITION,
        "to rewrite the pattern takes more steps than an import spends on one pattern, or on one rule",
    ),
    Reason.PHRASE_TOO_LONG: (CONDITION, f"it looks for a text of more than {MAX_PHRASE:,} characters"),
    Reason.TEST_SHAPE: (TEST, "the test is no map, or has no text that the rule could look at"),
    Reason.TEST_NOT_LOADABLE: (TEST, "our own loader refuses the test, or the rule would be above 0.9 MB with it"),
    Reason.TEST_EXPECTATION: (TEST, "`expected` is neither triggered nor not_triggered"),
    Reason.TEST_RULE_MISSING: (TEST, "its rule was not taken over"),
    Reason.TEST_CONDITION_MISSING: (
        TEST,
        "it was to match, and a condition that was not taken over may be why it does not",
    ),
    Reason.TEST_NORMALISATION: (
        TEST,
        "it was to match, and its text has characters that the peer's engine replaces before it looks (NFKC, invisible "
        "characters, lookalike letters); ours looks at the text as it is",
    ),
    Reason.TEST_CODE_BLOCK: (TEST, "it was not to match, and the peer's engine leaves out what stands in code blocks"),
    Reason.TEST_DISAGREES: (
        TEST,
        "the imported rule says otherwise, for none of these reasons: as a rule the file's own engine does as well",
    ),
    Reason.FLAGS_IGNORED: (
        NOTE,
        "the pattern begins with flags other than `i`; the peer's engine ignores them, and so does the import",
    ),
    Reason.CHARACTERS_NOT_HALVES: (
        NOTE,
        "the pattern has characters above U+FFFF where JavaScript reads two halves; here each is one character",
    ),
    Reason.GATE_DROPPED: (
        NOTE,
        "the peer would look less often: only in texts of one language, outside of code blocks, or after a confirmation",
    ),
    Reason.SEMANTIC_FALLBACK: (NOTE, "the rule asks a judge first; only the patterns that it falls back to are here"),
    Reason.METADATA: (NOTE, "a title, date, level, status or reference was changed or left out to fit"),
}
"""Reason → (for what it is given, what it means). Only the notes leave a rule whole."""


def reasons_table() -> list[tuple[str, str, str]]:
    """Every reason as (name, given for, meaning), for the docs."""
    return [(reason.value, *MEANINGS[reason]) for reason in Reason]
