"""What the fields of Agent Threat Rules are in our record: the one table, for the importer and the docs."""

from __future__ import annotations

from typing import NamedTuple


class FieldMap(NamedTuple):
    """``ours``: the fields that are searched, any of which may match. ``surface``: where a test's text is put."""

    ours: tuple[str, ...]
    surface: str
    meaning: str


FIELDS: dict[str, FieldMap] = {
    "content": FieldMap(
        ("data", "output", "tool.arguments"),
        "user",
        "the text of whatever event it is: what came in, what the model answered, what it asked of a tool",
    ),
    "user_input": FieldMap(
        ("data",), "user", "the user's text; the peer reads a tool's response with it too, and so does `data`"
    ),
    "tool_response": FieldMap(
        ("data",),
        "tool.result",
        "what a tool returned. Wider here: recipes hand documents over in user messages, which `data` has as well",
    ),
    "tool_description": FieldMap(
        ("system", "data"),
        "system",
        "the description of a tool. Our record has it only where somebody handed it over as text",
    ),
    "agent_output": FieldMap(
        ("output", "tool.result"), "output", "what the model answered; the peer reads a tool's response with it too"
    ),
    "agent_message": FieldMap(
        ("data", "output"),
        "user",
        "a message between agents: here it comes in as a user message, and goes out as output",
    ),
    "tool_args": FieldMap(("tool.arguments",), "tool.arguments", "the arguments of a tool call, as JSON text"),
    "tool_input": FieldMap(("tool.arguments",), "tool.arguments", "another word for `tool_args`, which some files use"),
    "tool_name": FieldMap(("tool.name",), "tool.name", "the name of a called tool"),
}


def fields_table() -> list[tuple[str, str, str]]:
    """Every field as (theirs, ours, meaning), for the docs."""
    return [
        (theirs, ", ".join(f"`{field}`" for field in entry.ours), entry.meaning) for theirs, entry in FIELDS.items()
    ]
