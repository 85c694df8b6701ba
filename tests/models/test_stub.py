"""The stub server itself, as far as others build on it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.stubs.schema_filler import SchemaFiller

STUB = Path(__file__).parents[1] / "stubs" / "openai_stub.py"


def post(base_url: str, text: str, seed: int = 1) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 99, "seed": seed}
    request = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["message"]["content"]


def test_as_a_process_it_logs_what_it_is_asked_and_answers_by_prompt_and_seed(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    with subprocess.Popen(
        [sys.executable, str(STUB), "--port", "0", "--log", str(log)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        base_url = server.stdout.readline().strip()
        answers = [post(base_url, "a"), post(base_url, "a"), post(base_url, "b"), post(base_url, "a", seed=2)]
        server.terminate()

    assert answers[0] == answers[1]
    assert len(set(answers)) == 3
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["seed"] for line in lines] == [1, 1, 1, 2]
    assert lines[0]["key"] == lines[1]["key"] != lines[3]["key"]
    assert lines[0]["hash"] == lines[3]["hash"] != lines[2]["hash"]


@given(
    longest=st.integers(0, 50),
    bounds=st.tuples(st.integers(-5, 5), st.integers(0, 9)),
    items=st.integers(0, 5),
    choices=st.lists(st.text(), min_size=1),
    seed=st.text(),
)
def test_a_filled_schema_keeps_its_bounds(
    longest: int, bounds: tuple[int, int], items: int, choices: list[str], seed: str
) -> None:
    low, width = bounds
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "maxLength": longest},
            "number": {"type": "integer", "minimum": low, "maximum": low + width},
            "list": {"type": "array", "items": {"$ref": "#/$defs/choice"}, "maxItems": items},
            "maybe": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        },
        "$defs": {"choice": {"enum": choices}},
    }

    value = SchemaFiller(schema, seed).fill()

    assert value == SchemaFiller(schema, seed).fill()
    assert len(value["text"]) <= longest
    assert low <= value["number"] <= low + width
    assert len(value["list"]) == items
    assert set(value["list"]) <= set(choices)
    assert isinstance(value["maybe"], bool)
