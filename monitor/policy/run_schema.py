"""What ``tree`` and ``taint`` of a rule over a run may contain."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from monitor.policy.schema_words import MAX_PARTS, Line, Name

ANY = "any"
"""In place of a rule's name: every subcall that checks look at."""
UNCHECKED = "unchecked"
"""In place of a rule's name: every subcall that no check looks at, because its recipe asked for that."""
FOUND = "found"
"""In place of a field's name: what the rule that is named found."""
STAND_INS = (ANY, UNCHECKED)
LEAST = 24
SMALLEST_LEAST = 8

POSITIVE = ("parent", "ancestor", "sibling", "child")
NEGATIVE = ("without_parent", "without_ancestor", "without_sibling")

Fields = Annotated[list[Line], Field(max_length=MAX_PARTS)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ShareFile(_Strict):
    """How much of what the run has spent so far, as far as ``field`` says, is too much for one branch."""

    field: Line
    gte: Annotated[float, Field(gt=0, le=1)]
    least: Annotated[float, Field(gt=0)]


class TreeFile(_Strict):
    """Two subcalls of which one stands in the tree as the other's relative, or one branch and the whole run.

    ``this`` and the relation are names of rules over one subcall, ``any`` or ``unchecked``.
    """

    model_config = ConfigDict(validate_by_name=True)

    this: Name
    parent: Name | None = None
    ancestor: Name | None = None
    sibling: Name | None = None
    child: Name | None = None
    without_parent: Name | None = Field(default=None, alias="without-parent")
    without_ancestor: Name | None = Field(default=None, alias="without-ancestor")
    without_sibling: Name | None = Field(default=None, alias="without-sibling")
    same: Fields = []
    what: Line | None = None
    unsaid_in: Fields = Field(default=[], alias="unsaid-in")
    share: ShareFile | None = None

    @property
    def relation(self) -> str:
        """The relation, as a key of this class; "" with ``share``."""
        return next((key for key in (*POSITIVE, *NEGATIVE) if getattr(self, key)), "")

    @property
    def other(self) -> str:
        """The rule that the relative matches; "" with ``share``."""
        return str(getattr(self, self.relation)) if self.relation else ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The rules that it joins, and what stands in their place."""
        return (self.this, self.other) if self.relation else (self.this,)

    @model_validator(mode="after")
    def _fits_together(self) -> TreeFile:
        given = [key for key in (*POSITIVE, *NEGATIVE, "share") if getattr(self, key)]
        names = ", ".join(f"`{key.replace('_', '-')}`" for key in (*POSITIVE, *NEGATIVE, "share"))
        if len(given) != 1:
            raise ValueError(f"give one of {names}")
        if self.share and (self.same or self.unsaid_in):
            raise ValueError(
                "`share` measures one branch, and compares no two subcalls: leave `same` and `unsaid-in` out"
            )
        if self.unsaid_in and (self.relation not in {"parent", "sibling"} or self.same):
            raise ValueError("`unsaid-in` goes with `parent` or `sibling`, and without `same`")
        if self.what and not self.unsaid_in:
            raise ValueError("`what` is what should have been said: it goes with `unsaid-in`")
        if self.unsaid_in and not self.what and self.this in STAND_INS:
            raise ValueError(f"`{self.this}` finds nothing that could have been said: give `what`, a field")
        if UNCHECKED in self.parts and (self.share or self.unsaid_in or self.relation in NEGATIVE):
            raise ValueError(
                "of an unchecked subcall nothing is read: it goes with `parent`, `ancestor`, `sibling`, `child`"
            )
        if UNCHECKED in self.parts and self.same:
            raise ValueError("of an unchecked subcall nothing is read, so that nothing can be the `same`")
        return self


class TaintFile(_Strict):
    """Texts of one subcall that reach another one.

    ``source`` and ``sink`` are names of rules over one subcall, or ``any``. ``from`` are the fields whose texts are marked,
    or ``found`` for what the rule found; ``into`` those that they must not reach. A stretch of fewer than ``least``
    codepoints, white space not counted, is not followed.
    """

    model_config = ConfigDict(validate_by_name=True)

    source: Name
    sink: Name
    from_: Annotated[list[Line], Field(alias="from", min_length=1, max_length=MAX_PARTS)] = ["output"]
    into: Annotated[list[Line], Field(min_length=1, max_length=MAX_PARTS)]
    least: Annotated[int, Field(ge=SMALLEST_LEAST, le=1_000)] = LEAST

    @property
    def parts(self) -> tuple[str, ...]:
        """The rules that it joins, and what stands in their place."""
        return self.source, self.sink

    @model_validator(mode="after")
    def _fits_together(self) -> TaintFile:
        if UNCHECKED in self.parts:
            raise ValueError("of an unchecked subcall no text is read: name a rule, or `any`")
        if FOUND in self.from_ and (self.source == ANY or len(self.from_) > 1):
            raise ValueError("`found` stands alone, and with a `source` that is a rule: `any` finds nothing")
        return self
