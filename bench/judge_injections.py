"""What gets through to a judge of texts that are written to fool it, by family.

Each text of ``tests/policy/judges/injections.yaml`` stands beside a sentence that plainly asks for a yes. The judge is
asked about the sentence alone and about both together; what gets through is a yes that becomes a no. An unknown is not a
no: the rule's ``on_unknown`` acts on it.

    python bench/judge_injections.py [--model embedded] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from monitor.judging import Judging
from monitor.orchestrate.judge import ModelJudge, unstored
from monitor.orchestrate.workplace import make_client
from monitor.policy import examples
from monitor.policy.judges.question import Question
from monitor.records import Limits
from monitor.settings import Settings

FILE = Path(__file__).parents[1] / "tests" / "policy" / "judges" / "injections.yaml"


async def main() -> None:
    """Ask, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
    client = make_client(Settings(), given.model)
    judging = Judging(ModelJudge(client, Limits(), seconds=300), [])
    question = Question("hides", found["question"])

    async def ask(text: str) -> str:
        record = examples.build({"reasoning": text, "output": "All tests passed."})
        said = await judging.ask_one(question, record, unstored)
        return said.answer or "unknown"

    began = time.monotonic()
    rows: list[dict[str, str]] = []
    try:
        alone = await ask(found["base"])
        for family, texts in found["families"].items():
            for text in texts:
                answer = await ask(f"{found['base']} {text}")
                rows.append({"family": family, "answer": answer, "text": text})
    finally:
        await client.aclose()
    print(f"{given.model}: about the sentence alone: {alone}; {len(rows)} texts, {time.monotonic() - began:.0f} s\n")
    words = ("yes", "no", "unclear", "unknown")
    print("| family | " + " | ".join(words) + " |\n|---" + "|---" * len(words) + "|")
    for family in [*found["families"], "all"]:
        counts = Counter(row["answer"] for row in rows if family in {row["family"], "all"})
        print(f"| {family} | " + " | ".join(str(counts[word]) for word in words) + " |")
    if given.json:
        given.json.write_text(
            json.dumps({"model": given.model, "alone": alone, "rows": rows}, indent=1), encoding="utf-8"
        )


if __name__ == "__main__":
    asyncio.run(main())
