"""The tests of an Agent Threat Rule as tests of ours: each text on the surface where the peer's engine would look for it.

Which text each of the peer's fields has in a test follows the peer's own runner of tests: ``input`` is the user's text, the
arguments of a tool or what a tool returned, by the kind of events that the rule is about.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.policy.importers.atr_fields import FIELDS
from monitor.policy.importers.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from monitor.strict_yaml import Node

_EXPECTED = {
    "triggered": "match",
    "trigger": "match",
    "not_triggered": "no_match",
    "no_trigger": "no_match",
}
_KINDS = {"true_positives": "true positive", "true_negatives": "true negative", "evasion_tests": "evasion"}
_DEFAULTS = {"true_positives": "match", "true_negatives": "no_match"}
_TOOL_CALLS = {"tool_call", "skill_lifecycle", "skill_permission", "skill_chain"}
_SPARE = ("user", "output", "tool.result")
_INVISIBLE = "\u200b\u200c\u200d\ufeff\u2060\u180e\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_LOOKALIKE = {0x131, 0x1C0, 0x578}


@dataclass(slots=True)
class Case:
    """One test of the file. ``fault`` says why it cannot be one of ours."""

    name: str
    line: int
    expect: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    fault: tuple[Reason, str] | None = None

    @property
    def texts(self) -> list[str]:
        """Every text in it."""
        return [value for value in self.record.values() if isinstance(value, str)]


def read_tests(root: Node, source: str, fields: Set[str]) -> list[Case]:
    """Every test of a file; ``source`` is the kind of events, ``fields`` the peer's fields that the rule looks at."""
    return [_case(kind, number, node, source, fields) for kind, number, node in _all_tests(root)]


def _all_tests(root: Node) -> Iterator[tuple[str, int, Node]]:
    cases = root.get("test_cases")
    for kind in _KINDS:
        found = [
            *(_list(cases.get(kind)) if cases else []),
            *(_list(root.get(kind)) if kind == "evasion_tests" else []),
        ]
        for number, node in enumerate(found, start=1):
            yield kind, number, node


def _list(node: Node | None) -> list[Node]:
    """The tests in a list; anything else that stands in its place is one test, of no shape."""
    if node is None or node.value is None:
        return []
    return node.items() if isinstance(node.value, list) else [node]


def _case(kind: str, number: int, node: Node, source: str, fields: Set[str]) -> Case:
    case = Case(f"{_KINDS[kind]} {number}", node.mark.line)
    if not isinstance(node.value, dict):
        case.fault = Reason.TEST_SHAPE, "a test is a map"
        return case
    given = node.plain()
    said = next((given[key] for key in ("description", "reason", "notes") if isinstance(given.get(key), str)), "")
    if said.strip():
        case.name = f"{case.name}: {' '.join(said.split())}"
    expected = given.get("expected")
    case.expect = _DEFAULTS.get(kind, "") if expected is None else _EXPECTED.get(str(expected), "")
    if not case.expect:
        case.fault = Reason.TEST_EXPECTATION, f"found {'nothing' if expected is None else str(expected)[:80]}"
        return case
    case.record = _record(_values(given, source), source, fields)
    if not case.texts:
        case.fault = Reason.TEST_SHAPE, "it has no text that the rule looks at"
    return case


def _as_text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _values(given: dict[str, Any], source: str) -> dict[str, str]:
    """The text of each of the peer's fields, as the peer's runner gives it."""
    names = ("tool_name", "tool_args", "tool_response", "agent_output", "agent_message", "tool_description")
    texts = {name: _as_text(given.get(name)) for name in names}
    called = given.get("tool_call")
    if isinstance(called, dict):
        texts["tool_name"] = texts["tool_name"] or _as_text(called.get("name"))
        texts["tool_args"] = texts["tool_args"] or _as_text(called.get("args"))
    raw = given.get("input") if given.get("input") is not None else given.get("user_input")
    if isinstance(raw, dict):
        for ours, theirs in (
            ("tool_name", "tool_name"),
            ("tool_args", "tool_args"),
            ("tool_response", "response"),
            ("tool_response", "tool_response"),
        ):
            texts[ours] = texts[ours] or _as_text(raw.get(theirs))
        text = texts["tool_args"] or ("" if texts["tool_response"] else _as_text(raw))
    else:
        text = _as_text(raw)
    return _resolved(texts, text, _as_text(given.get("content")), source)


def _resolved(texts: dict[str, str], text: str, written: str, source: str) -> dict[str, str]:
    answered = source == "mcp_exchange"
    others = (texts["tool_description"], written, texts["tool_response"], texts["agent_output"], texts["agent_message"])
    content = texts["tool_response"] if answered and texts["tool_response"] else text
    content = content or next((other for other in others if other), "")
    called = source in _TOOL_CALLS
    values = {
        "content": content,
        "user_input": text or ("" if called or source in {"multi_agent_comm", "agent_behavior"} else content),
        "tool_response": texts["tool_response"] or (content if answered else ""),
        "agent_output": texts["agent_output"] or (content if answered else ""),
        "agent_message": content,
        "tool_description": texts["tool_description"],
        "tool_args": texts["tool_args"] or text or (content if called else ""),
        "tool_name": texts["tool_name"] or (content if called else ""),
    }
    values["tool_input"] = values["tool_args"]
    return {name: value for name, value in values.items() if value}


def _surface(name: str, source: str) -> str:
    if name == "content":
        return "tool.arguments" if source in _TOOL_CALLS else "tool.result" if source == "mcp_exchange" else "user"
    return FIELDS[name].surface


def _record(values: dict[str, str], source: str, fields: Set[str]) -> dict[str, Any]:
    """The record in short form: what the rule looks at, each text on its surface. ``tools`` where it looks at tools."""
    record: dict[str, Any] = {}
    for name in FIELDS:
        if name not in fields or name not in values:
            continue
        places = (_surface(name, source), *(place for place in _SPARE if name == "content"))
        place = next((place for place in places if record.get(place, values[name]) == values[name]), None)
        if place is not None:
            record[place] = values[name]
    if not record and "content" in values:  # the file gives a text, and does not say that it is what the rule looks at
        record = {FIELDS[name].surface: values["content"] for name in FIELDS if name in fields}
    looks_at_tools = any(ours.startswith("tool.") for name in fields for ours in FIELDS[name].ours)
    if record and looks_at_tools and not any(place.startswith("tool.") for place in record):
        record["tools"] = ["tool"]
    return record


def is_normalised(text: str) -> bool:
    """Whether the peer's engine looks at the text as it is: it is NFKC, without invisible and lookalike characters."""
    if text.isascii():
        return True
    if any(char in _INVISIBLE or 0x370 <= ord(char) <= 0x4FF or ord(char) in _LOOKALIKE for char in text):
        return False
    return unicodedata.is_normalized("NFKC", text)
