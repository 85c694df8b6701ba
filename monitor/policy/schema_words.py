"""The types of words that policy files are written in."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

Line = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Prose = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]

MAX_PARTS = 16
"""How many rules, or fields, one key of a rule over a run may name."""
