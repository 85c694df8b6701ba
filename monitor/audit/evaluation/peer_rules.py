"""The examples in Agent Threat Rules' files: attacks, and harmless texts that look alike. Nobody here wrote them.

An example is put where its file says that it arrives: the ``field`` of the file's conditions, or the key of the example.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from monitor.audit.evaluation.samples import Kind, Label, Part, Sample, Surface, record_on
from monitor.audit.evaluation.split import SETS, Half
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SOURCE = "rules-atr"

SURFACES: dict[str, frozenset[Surface]] = {
    "user_input": frozenset({Surface.USER}),
    "tool_response": frozenset({Surface.RESULT}),
    "tool_description": frozenset({Surface.RESULT}),
    "tool_call": frozenset({Surface.ARGUMENTS}),
    "tool_args": frozenset({Surface.ARGUMENTS}),
    "tool_name": frozenset({Surface.ARGUMENTS}),
    "agent_output": frozenset({Surface.WRITTEN}),
}
"""The peer's fields → where their text is put. Descriptions of tools have no place in a record of their own; they come from
outside, as results do. Any other field (``content`` above all) may be anything, and is put everywhere but in arguments."""

ANYWHERE = frozenset({Surface.USER, Surface.RESULT, Surface.WRITTEN})

_LABELS = {"true_positives": Label.ATTACK, "true_negatives": Label.TWIN}


def read_peer(data: Path, halves: Mapping[str, Half], wanted: frozenset[Half]) -> Part:
    """The examples of the files whose half is wanted. No other file is opened.

    Raises:
        ConfigError: a file is no such rule file.
    """
    files = sorted(data.glob(SETS[SOURCE]))
    if not files:
        return Part(SOURCE, missing=f"there is no `{SETS[SOURCE]}`")
    samples: list[Sample] = []
    for file in files:
        half = halves.get(file.name, Half.UNLISTED)
        if half in wanted:
            samples += _examples(file, half)
    return Part(SOURCE, tuple(samples), "" if samples else "it has no file of the half that was asked for")


def _examples(file: Path, half: Half) -> list[Sample]:
    try:
        rule = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        return list(_samples(file, half, rule))
    except (OSError, YAMLError, AttributeError, KeyError, TypeError, ValueError) as exc:
        problem = f"{type(exc).__name__}: {exc}"
        raise ConfigError(f"{file}: expected an Agent Threat Rules file, found something else ({problem})") from exc


def _samples(file: Path, half: Half, rule: Mapping[str, Any]) -> Iterator[Sample]:
    arrives = _arrives(rule)
    for kind, label in _LABELS.items():
        for example in (rule.get("test_cases") or {}).get(kind) or ():
            text, surfaces = _placed(example, arrives)
            written = Kind.AGENT if surfaces <= {Surface.WRITTEN, Surface.ARGUMENTS} else Kind.WORLD
            yield Sample(SOURCE, file.name, half, written, label, record_on(text, surfaces))


def _arrives(rule: Mapping[str, Any]) -> frozenset[Surface]:
    """Where a plain ``input`` of this file arrives: at every field that the file's conditions name."""
    conditions = (rule.get("detection") or {}).get("conditions") or ()
    listed = conditions.values() if isinstance(conditions, dict) else conditions
    fields = {condition.get("field", "content") for condition in listed if isinstance(condition, dict)}
    return frozenset().union(*(SURFACES.get(field, ANYWHERE) for field in fields)) or ANYWHERE


def _placed(example: Mapping[str, Any], arrives: frozenset[Surface]) -> tuple[str, frozenset[Surface]]:
    """(text, where it is put). An example gives ``input``, or one or more fields by name."""
    given = {key: value for key, value in example.items() if key in {"input", "content", *SURFACES} and value}
    if not given:
        raise KeyError("an example has neither `input` nor a field")
    surfaces = [arrives if key == "input" else SURFACES.get(key, ANYWHERE) for key in given]
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in given.values()]
    return "\n".join(texts), frozenset().union(*surfaces)
