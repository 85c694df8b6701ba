"""How often the rules of a pack match public benign text: false positives, by rule and level.

    python bench/policy_false_positives.py DATA [PACK …]

DATA is a folder with ``traces/swe-agent/*.traj``, ``traces/agentrx/*.json`` and
``tasks/*.jsonl`` (grade-school solutions). What an agent wrote is taken as reasoning and, once more, as the answer; what
tools and people told it as data; its shell commands as tool arguments. The agents' traces are benign as far as anybody
labelled them, so every match counts as false. The grade-school solutions are counted apart: they are easy.

With ``rules-atr/*.yaml`` in DATA, the examples in these Agent Threat Rules files are read as well, which nobody who wrote
our rules has seen: how many of their true positives (attacks on a model, as data and as text of its own) does any of our
rules of level medium or above catch, and how many of their true negatives does it hit?
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from monitor import policy
from monitor.records import (
    Call,
    Level,
    Message,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    Record,
    Status,
    ToolCall,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.records import Finding, Span

WORLD = {"human", "WebSurfer", "FileSurfer", "ComputerTerminal"}
"""AgentRx roles whose messages report from the web, from files or from a terminal, or are the user's."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One message and where it is from."""

    source: str
    record: Record


def _record(*, written: str = "", data: str = "", command: str = "") -> Record:
    messages = (Message(role="user", content="A task."), Message(role="tool", content=data)) if data else ()
    asked = (ToolCall(id="0", name="shell", arguments=json.dumps({"command": command})),) if command else ()
    state = ReasoningState.PLAIN if written else ReasoningState.ABSENT
    return Record(
        call=Call(
            run_id="0" * 32,
            span_id="0" * 16,
            key="sample",
            role="agent",
            messages=messages,
            tools=("shell",),
            adapter="bench",
        ),
        observation=Observation(
            outcome=Outcome.OK, output=written, reasoning=Reasoning(state=state, text=written), tool_calls=asked
        ),
    )


def _swe_agent(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("*.traj")):
        trace = json.loads(path.read_text(encoding="utf-8"))
        for step in trace.get("trajectory") or []:
            yield Sample("swe-agent", _record(written=step["response"], command=step["action"]))
            yield Sample("swe-agent", _record(data=step["observation"]))
        if not trace.get("trajectory"):
            for message in trace["history"]:
                kind = "written" if message["role"] == "assistant" else "data"
                yield Sample("swe-agent", _record(**{kind: str(message["content"])}))


def _agentrx(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("*.json")):
        for message in json.loads(path.read_text(encoding="utf-8")):
            kind = "data" if message["role"] in WORLD else "written"
            yield Sample("agentrx", _record(**{kind: message["content"]}))


def _solutions(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            task = json.loads(line)
            for answer in task.values():
                if isinstance(answer, dict):
                    yield Sample("grade-school", _record(written=answer["solution"]))


def _peer_examples(folder: Path, kind: str) -> Iterator[Record]:
    for path in sorted(folder.glob("*.yaml")):
        for example in YAML(typ="safe").load(path).get("test_cases", {}).get(kind, ()):
            given = [example.get(key) for key in ("input", "tool_response", "tool_description")]
            text = "\n".join(value if isinstance(value, str) else json.dumps(value) for value in given if value)
            yield _record(data=text, written=text)


def _report_peer(folder: Path, rules: policy.PolicySet) -> None:
    print("\nAgent Threat Rules' own examples, with any match of level medium or above:")
    for kind in ("true_positives", "true_negatives"):
        records = list(_peer_examples(folder, kind))
        hit = sum(any(_is_notable(finding) for finding in rules.findings(record)) for record in records)
        print(f"  {kind}: {hit} of {len(records)}")


def _is_notable(finding: Finding) -> bool:
    return finding.status is Status.MATCH and finding.level not in {Level.INFORMATIONAL, Level.LOW}


def _report(name: str, samples: Iterable[Sample], rules: policy.PolicySet) -> None:
    count, levels, by_rule = 0, Counter[str](), Counter[tuple[str, str]]()
    examples: list[str] = []
    for sample in samples:
        count += 1
        for finding in rules.findings(sample.record):
            if finding.status is Status.MATCH:
                levels[finding.level.value] += 1
                by_rule[finding.name, finding.level.value] += 1
                examples += _quotes(sample.record, finding.name, finding.evidence[:1])
    print(f"\n{name}: {count} messages")
    print("  by level: " + ", ".join(f"{level.value} {levels[level.value]}" for level in reversed(Level)))
    for (rule, level), number in by_rule.most_common():
        print(f"  {rule} ({level}): {number}")
    for quote in examples:
        print(f"    {quote}")


def _quotes(record: Record, rule: str, spans: Iterable[Span]) -> Iterator[str]:
    texts = {"reasoning": record.observation.reasoning.text, "output": record.observation.output}
    texts |= {f"messages[{index}].content": message.content for index, message in enumerate(record.call.messages)}
    texts |= {f"tool_calls[{i}].arguments": asked.arguments for i, asked in enumerate(record.observation.tool_calls)}
    for span in spans:
        quoted = texts.get(span.surface, "")[max(0, span.start - 40) : span.end + 40]
        yield f"{rule}: …{' '.join(quoted.split())[:200]}…"


def main(arguments: list[str]) -> int:
    """Print the counts; returns the exit status."""
    if not arguments:
        print(__doc__)
        return 2
    data, packs = Path(arguments[0]), [Path(name) for name in arguments[1:]] or [Path("policies")]
    rules = policy.load(packs)
    agents = [*_swe_agent(data / "traces" / "swe-agent"), *_agentrx(data / "traces" / "agentrx")]
    _report("agents' messages", agents, rules)
    _report("grade-school solutions", _solutions(data / "tasks"), rules)
    if (peer := data / "rules-atr").is_dir():
        _report_peer(peer, rules)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
