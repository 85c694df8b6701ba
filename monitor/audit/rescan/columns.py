"""The columns of an exported file: one row for each subcall, and all of it, so that it can be checked again from the file.

Texts and what people filter by have columns of their own; ``call``, ``observation`` and ``judgement`` are JSON of the rest.
The names and types of columns stay what they are; ``monitor.export/2`` in the file's metadata says which they are. Files of
``monitor.export/1`` have no ``judged_leaf``, which rules over a run need. The metadata also has a digest of each row group:
it tells a file that was edited or cut from the one that was exported, but not from one whose digests were made anew.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from monitor.canonical import escape_json, unescape_json
from monitor.errors import MissingExtraError
from monitor.records import Call, Judgement, Observation
from monitor.store import Found
from monitor.store.jcs import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = "monitor.export/2"
FORMAT_BEFORE = "monitor.export/1"
METADATA_KEY = b"monitor.export"
GROUPS_KEY = b"monitor.export.groups"
_OWN_OF_CALL = ("task", "messages")
_OWN_OF_OBSERVATION = ("output", "raw")


def pyarrow() -> Any:
    """The module. Raises MissingExtraError."""
    try:
        import pyarrow as module  # noqa: PLC0415 - optional
        import pyarrow.parquet  # noqa: PLC0415 - a part that is loaded by its name
    except ImportError as exc:
        raise MissingExtraError("pyarrow, which reads and writes Parquet,", "audit") from exc
    return module


def schema(*, before: bool = False) -> Any:
    """The columns with their types; ``before``: those of files of ``FORMAT_BEFORE``."""
    arrow = pyarrow()
    text = arrow.string()
    tool_call = arrow.struct([(name, text) for name in ("id", "name", "arguments", "refused")])
    message = arrow.struct(
        [("role", text), ("content", text), ("tool_calls", arrow.list_(tool_call)), ("tool_call_id", text)]
    )
    types = {
        "leaf_index": arrow.int64(),
        "judged_leaf": arrow.int64(),
        "erased": arrow.int32(),
        "messages": arrow.list_(message),
    }
    return arrow.schema([(name, types.get(name, text)) for name in (NAMES[:-1] if before else NAMES)])


NAMES = (
    "leaf_index",
    "run_id",
    "span_id",
    "parent_id",
    "recipe",
    "role",
    "kind",
    "model",
    "started_at",
    "outcome",
    "verdict",
    "action",
    "task",
    "messages",
    "reasoning_state",
    "reasoning",
    "output",
    "raw",
    "error",
    "erased",
    "call",
    "observation",
    "judgement",
    "event_hash",
    "texts_key",
    "problem",
    "judged_leaf",
)


def digest_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over the rows of a group as Arrow gives them, by which an edited, doubled or missing one is noticed."""
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def row_of(found: Found, recipe: str) -> dict[str, Any]:
    """A subcall as a row."""
    row: dict[str, Any] = dict.fromkeys(NAMES)
    row |= {
        "leaf_index": found.leaf_index,
        "run_id": found.run_id,
        "span_id": found.span_id,
        "recipe": recipe,
        "event_hash": found.event_hash,
        "texts_key": found.texts_key,
        "erased": found.erased,
        "problem": found.problem,
        "judged_leaf": found.judged_leaf,
    }
    call, seen, judgement = found.call, found.observation, found.judgement
    if call is not None:
        values = call.model_dump()
        row |= {"task": values.pop("task"), "messages": [dict(message) for message in values.pop("messages")]}
        row |= {name: values[name] for name in ("parent_id", "role", "kind", "model")}
        row |= {"started_at": call.at, "call": _json(values)}
    if seen is not None:
        values = seen.model_dump()
        row |= {name: values.pop(name) for name in _OWN_OF_OBSERVATION}
        row |= {"reasoning": values["reasoning"].pop("text"), "reasoning_state": seen.reasoning.state.value}
        row |= {"error": seen.error.message if seen.error else None, "observation": _json(values)}
    if judgement is not None:
        row |= {
            "outcome": judgement.outcome.value,
            "verdict": judgement.verdict.value.value,
            "action": judgement.action.value,
            "judgement": _json(judgement.model_dump()),
        }
    return row


def found_in(row: Mapping[str, Any]) -> Found:
    """The subcall of a row. Raises ValueError, KeyError and TypeError for a row that is damaged."""
    call = seen = judgement = None
    if row["call"] is not None:
        values = _parsed(row["call"])
        call = Call.model_validate({**values, **{name: row[name] for name in _OWN_OF_CALL}})
    if row["observation"] is not None:
        values = _parsed(row["observation"])
        values["reasoning"]["text"] = row["reasoning"]
        seen = Observation.model_validate({**values, **{name: row[name] for name in _OWN_OF_OBSERVATION}})
    if row["judgement"] is not None:
        judgement = Judgement.model_validate(_parsed(row["judgement"]))
    told = {"problem": row["problem"] or "", "erased": row["erased"], "judged_leaf": row.get("judged_leaf")}
    return Found(*place_of(row), row["texts_key"], call, seen, judgement, **told)


def place_of(row: Mapping[str, Any]) -> tuple[int, str, str, str]:
    """Where the subcall of a row is: leaf, run, span, and the hash of its events."""
    return row["leaf_index"], row["run_id"], row["span_id"], row["event_hash"]


def _json(value: Mapping[str, Any]) -> str:
    return dumps(escape_json(value))


def _parsed(text: str) -> dict[str, Any]:
    value = unescape_json(json.loads(text))
    if not isinstance(value, dict):
        raise TypeError("expected a map")
    return value
