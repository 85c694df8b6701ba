"""How a view reads an event, in the words of SQLite and of PostgreSQL, so that a view is written once.

``place`` is a path in the body of the event, such as ``usage.calls``; ``row`` is the alias of the event in the view.
"""

from __future__ import annotations

from typing import Protocol


class Dialect(Protocol):
    """The words of one database."""

    name: str

    def text(self, row: str, place: str) -> str:
        """A text that stands in the event itself."""
        ...

    def integer(self, row: str, place: str) -> str:
        """A count."""
        ...

    def flag(self, row: str, place: str) -> str:
        """True or false, as 1 or 0."""
        ...

    def real(self, row: str, place: str) -> str:
        """A number, in whichever form canonical JSON has it; NULL for NaN, which SQLite does not know."""
        ...

    def limit(self, row: str, place: str) -> str:
        """As ``real``: the number under ``place`` that the column ``l.limit_name`` names."""
        ...

    def json(self, row: str, place: str) -> str:
        """A list as JSON text."""
        ...

    def length(self, row: str, place: str) -> str:
        """How many items a list has."""
        ...

    def commitment(self, row: str, place: str) -> str:
        """The commitment to a text that is stored by content; NULL where there is none or it is empty."""
        ...

    def body(self, row: str, place: str, text: str) -> str:
        """A text that is stored by content, joined as ``text``; '' where it is empty, NULL where there is none."""
        ...

    def is_exceeded(self, row: str) -> str:
        """1 where the list ``exceeded`` names the column ``l.limit_name``, else 0; NULL without an event."""
        ...

    def leaf(self, row: str) -> str:
        """The event's place in the Merkle log."""
        ...

    def join_leaf(self, row: str) -> str:
        """The join that ``leaf`` needs."""
        ...


class Sqlite:
    """The words of SQLite."""

    name = "sqlite"

    def _get(self, row: str, place: str, tail: str = "") -> str:
        return f"json_extract({row}.canonical, '$.body.{place}{tail}')"

    def text(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._get(row, place)

    def integer(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._get(row, place)

    def flag(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._get(row, place)

    def _number(self, row: str, path: str) -> str:
        def at(tail: str) -> str:
            return f"json_extract({row}.canonical, {path} || '{tail}')"

        special, digits = at('."$float"'), at('."$int"')
        return f"""CASE json_type({row}.canonical, {path}) WHEN 'object' THEN
    CASE {special} WHEN 'nan' THEN NULL WHEN 'inf' THEN 9e999 WHEN '-inf' THEN -9e999
                   ELSE CAST(coalesce({special}, {digits}) AS REAL) END
    ELSE CAST({at("")} AS REAL) END"""

    def real(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._number(row, f"'$.body.{place}'")

    def limit(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._number(row, f"'$.body.{place}.' || l.limit_name")

    def json(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._get(row, place)

    def length(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return f"json_array_length({row}.canonical, '$.body.{place}')"

    def commitment(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._get(row, place, '."$text"')

    def body(self, row: str, place: str, text: str) -> str:
        """See ``Dialect``."""
        empty = f"CASE json_type({row}.canonical, '$.body.{place}') WHEN 'text' THEN '' END"
        return f"coalesce({text}.body, {empty})"

    def is_exceeded(self, row: str) -> str:
        """See ``Dialect``."""
        return (
            f"CASE WHEN {row}.canonical IS NOT NULL THEN EXISTS (SELECT 1 FROM "
            f"json_each({row}.canonical, '$.body.exceeded') AS x "
            "WHERE json_extract(x.value, '$.limit') = l.limit_name) END"
        )

    def leaf(self, row: str) -> str:
        """See ``Dialect``."""
        return f"{row}.leaf_index"

    def join_leaf(self, row: str) -> str:
        """See ``Dialect``."""
        return ""


class Postgres:
    """The words of PostgreSQL."""

    name = "postgresql"

    def _get(self, row: str, place: str) -> str:
        return f"({row}.canonical::jsonb #> '{{body,{place.replace('.', ',')}}}')"

    def text(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return f"({row}.canonical::jsonb #>> '{{body,{place.replace('.', ',')}}}')"

    def integer(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return f"monitor_integer({self._get(row, place)})"

    def flag(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return f"{self.text(row, place)}::boolean::integer"

    def _number(self, value: str) -> str:
        return f"coalesce(nullif(monitor_real({value}), 'NaN'), monitor_integer({value})::double precision)"

    def real(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._number(self._get(row, place))

    def limit(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return self._number(f"({self._get(row, place)} -> l.limit_name)")

    def json(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return f"({row}.canonical::json #>> '{{body,{place.replace('.', ',')}}}')"

    def length(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return f"jsonb_array_length({self._get(row, place)})"

    def commitment(self, row: str, place: str) -> str:
        """See ``Dialect``."""
        return f"({self._get(row, place)} ->> '$text')"

    def body(self, row: str, place: str, text: str) -> str:
        """See ``Dialect``."""
        return f"coalesce({text}.body, CASE jsonb_typeof({self._get(row, place)}) WHEN 'string' THEN '' END)"

    def is_exceeded(self, row: str) -> str:
        """See ``Dialect``."""
        return (
            f"CASE WHEN {row}.canonical IS NOT NULL THEN EXISTS (SELECT 1 FROM "
            f"jsonb_array_elements({self._get(row, 'exceeded')}) AS x WHERE x ->> 'limit' = l.limit_name)::integer END"
        )

    def leaf(self, row: str) -> str:
        """See ``Dialect``."""
        return f"{row}_leaf.leaf_index"

    def join_leaf(self, row: str) -> str:
        """See ``Dialect``."""
        key = " AND ".join(f"{row}_leaf.{column} = {row}.{column}" for column in ("run_id", "span_id", "seq"))
        return f"LEFT JOIN leaves AS {row}_leaf ON {key}"


def step(row: str, of: str, seq: int) -> str:
    """The condition that ``row`` is the event ``seq`` of the subcall that ``of`` belongs to."""
    return f"{row}.run_id = {of}.run_id AND {row}.span_id = {of}.span_id AND {row}.seq = {seq}"
