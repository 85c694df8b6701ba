"""Values for any JSON Schema, invented but the same every time: what the stub answers when a schema is asked for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_FIRST = ("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor")
_SECOND = ("inlet", "jetty", "knoll", "lagoon", "meadow", "north", "orchard", "prairie")
WORDS = _FIRST + _SECOND


def digest(*parts: Any) -> str:
    """SHA-256, in hex, of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class SchemaFiller:
    """Fills a JSON Schema with values that depend on nothing but the schema and ``seed``; arrays are as long as allowed.

    Knows types, enum, const, bounds of lengths and numbers, ``$ref`` within the document, anyOf/oneOf (the first) and
    allOf. Optional properties are filled too; ``pattern`` and ``format`` are ignored.
    """

    def __init__(self, schema: dict[str, Any], seed: str, *, suffix: str = "") -> None:
        self.schema = schema
        self.seed = seed
        self.suffix = suffix

    def fill(self) -> Any:
        """One value of the schema."""
        return self._value(self.schema, "$", 0)

    def _number(self, path: str) -> int:
        return int(digest(self.seed, path)[:12], 16)

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            target: Any = self.schema
            for step in schema["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            schema = target
        for part in schema.get("allOf", ()):
            schema = {**self._resolve(part), **schema}
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self._resolve(schema[choice][0])
        return schema

    def _value(self, schema: dict[str, Any], path: str, depth: int) -> Any:
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][self._number(path) % len(schema["enum"])]
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            wanted = schema.get("properties", {}) if depth < 8 else {}
            return {name: self._value(part, f"{path}.{name}", depth + 1) for name, part in wanted.items()}
        if kind == "array":
            count = schema.get("maxItems", max(3, schema.get("minItems", 0)))
            return [self._value(schema.get("items", {}), f"{path}[{i}]", depth + 1) for i in range(min(count, 8))]
        if kind in {"integer", "number"}:
            return self._in_bounds(schema, path, kind)
        if kind in {"boolean", "null"}:
            return None if kind == "null" else bool(self._number(path) % 2)
        return self._text(path, schema.get("minLength", 0), schema.get("maxLength", 120))

    def _in_bounds(self, schema: dict[str, Any], path: str, kind: str) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 101) - 1)
        value = low + self._number(path) % (int(high - low) + 1)
        return int(value) if kind == "integer" else float(value)

    def _text(self, path: str, shortest: int, longest: int) -> str:
        number = self._number(path)
        words = [WORDS[(number >> shift) % len(WORDS)] for shift in range(0, 24, 4)]
        text = " ".join(words).capitalize() + "." + self.suffix
        while len(text) < shortest:
            text += " " + text
        return text[:longest]
