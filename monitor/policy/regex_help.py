"""What is wrong with a regular expression, in plain English, and how to say it so that RE2 takes it."""

from __future__ import annotations

_LOOKAROUND = {
    "(?=": "must follow",
    "(?!": "must not follow",
    "(?<=": "must come before",
    "(?<!": "must not come before",
}
_NOT_WITHOUT = (
    "Matching must stay fast on hostile text, so there is no lookaround. Write two selections and join them: "
    "`condition: wanted and not unwanted` (or `and` for something that must be there too)."
)


def explain(pattern: str, said: str) -> tuple[str, str]:
    """(what is wrong, what to write instead), from a pattern and what RE2 said of it."""
    for opening, meaning in _LOOKAROUND.items():
        if said.endswith(f": {opening}") and opening in pattern:
            return f"the pattern looks around itself: `{opening}…)` means that something {meaning}.", _NOT_WITHOUT
    if "(?>" in said or said.endswith(("++", "*+", "?+")):
        return (
            "the pattern has a possessive part.",
            "Leave the extra `+` or the `?>` out: there is no slow search to stop.",
        )
    detail = said.rpartition(": ")[2]
    if "invalid character class range" in said:
        return _bad_class(detail)
    for detail, answer in _BY_DETAIL.items():
        if detail in said:
            return answer
    detail = said.rpartition(": ")[2]
    return f"the pattern cannot be read: {said}.", f"Look at `{detail[:40]}`; a character meant as itself needs a `\\`."


def _bad_class(detail: str) -> tuple[str, str]:
    if detail.startswith(("\\p", "\\P")):
        return (
            f"there is no class of characters `{detail}`.",
            "Write a script such as `\\p{Greek}`, or `\\pL` for letters.",
        )
    if detail.startswith("[:"):
        return (
            f"there is no class of characters `{detail}`.",
            "Known are `[[:alpha:]]`, `[[:digit:]]`, `[[:space:]]` and others.",
        )
    return "a range in brackets runs backwards.", "Write the smaller end first: `[a-z]`."


_BY_DETAIL = {
    "missing )": ("a parenthesis is never closed.", "Add `)`, or write `\\(` for the character itself."),
    "unexpected )": ("a parenthesis is closed that was never opened.", "Write `\\)` for the character itself."),
    "missing ]": ("a bracket is never closed.", "Add `]`, or write `\\[` for the character itself."),
    "no argument for repetition": (
        "nothing stands before `*`, `+`, `?` or `{`.",
        "Write `\\*` for the character itself.",
    ),
    "invalid repetition size": ("a part is repeated too often.", "At most 1000 times, nested repetitions multiplied."),
    "invalid escape sequence: \\Z": ("`\\Z` is not known.", "Write `\\z` for the end of the text."),
    "invalid escape sequence: \\u": ("`\\u` is not known.", "Write `\\x{e9}` for the character U+00E9."),
    "invalid escape sequence: \\U": ("`\\U` is not known.", "Write `\\x{1f600}` for the character U+1F600."),
    **{
        f"invalid escape sequence: \\{digit}": (
            f"`\\{digit}` refers back to a group.",
            "Matching must stay fast on hostile text, so there is no such thing: write the alternatives out.",
        )
        for digit in range(1, 10)
    },
    "invalid perl operator: (?P": ("a named group is written in a way that is not known.", "Use plain `( … )`."),
    "trailing \\": ("the pattern ends in a single `\\`.", "Write `\\\\` for the character itself."),
    "too large": (
        "the pattern is too large: on a text made for it, it could take too long.",
        "Split it, or repeat less: `{1,1000}` of a large class such as `\\pL` is a thousand such classes.",
    ),
}
