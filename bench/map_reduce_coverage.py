"""A question about one sentence in a document of 200 KB, on the embedded model's context of 4,096 tokens.

    python bench/map_reduce_coverage.py [--bytes 200000] [--place 0.5] [--context 4096] [--db FILE]

The document is real text that every Python carries (``pydoc_data.topics``, the language reference, PSF licence),
cut to size, with one planted paragraph about a hotel. Coverage is proved from the stored record alone, by
``monitor.orchestrate.pieces.coverage``. Whether the planted fact was found is told for each level: in the note of the piece
that has it, and in the final answer. The answer is reported as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

import monitor
from monitor.orchestrate.pieces import coverage
from monitor.records import Limits
from monitor.settings import Settings
from monitor.store import Store

if TYPE_CHECKING:
    from monitor.records import Event

FACT = "The night porter of the Hotel Aurora keeps the spare key in a blue teapot."
QUESTION = "Where does the night porter of the Hotel Aurora keep the spare key?"
FOUND = "teapot"
SIZE = 200_000


def planted(size: int = SIZE, place: float = 0.5) -> str:
    """A document of ``size`` bytes in UTF-8, up to a paragraph, with the fact as a paragraph at ``place`` of it."""
    text = "\n\n".join(topics[name].strip() for name in sorted(topics))
    while len(text.encode()) < size:
        text += "\n\n" + text
    text = text.encode()[: size - len(FACT) - 2].decode(errors="ignore")
    at = text.rfind("\n\n", 0, max(2, int(len(text) * place))) + 2
    return f"{text[:at]}{FACT}\n\n{text[at:]}"


def main() -> None:
    """Run it, prove the coverage, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bytes", type=int, default=SIZE)
    parser.add_argument("--place", type=float, default=0.5)
    parser.add_argument("--context", type=int, default=None)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--db", default="")
    arguments = parser.parse_args()
    document = planted(arguments.bytes, arguments.place)
    with tempfile.TemporaryDirectory() as folder:
        db = arguments.db or f"{folder}/monitor.db"
        options = {"text": document, "context": arguments.context}

        def progress(event: Event) -> None:
            if event.kind == "judged":
                print(".", end="", flush=True)

        result = asyncio.run(
            monitor.run(
                "map_reduce",
                QUESTION,
                settings=Settings(db=db, model=arguments.model),
                options=options,
                budget=Limits(calls=1000, seconds=7200),
                listener=progress,
            )
        )
        with Store.open(db) as store:
            subcalls = store.subcalls(result.run_id)
    proof = coverage(subcalls, document)
    used = result.usage
    print(f"\n{len(document.encode())} bytes, {result.outcome}, {result.seconds:.0f} s, {result.error or ''}")
    print(f"pieces {len(proof.pieces)}, every codepoint in exactly one: {proof.is_exact}")
    print(f"{used.calls} calls, {used.input_tokens} + {used.output_tokens} tokens")
    widest = max(call.call.reserved.input_tokens + (call.call.max_output_tokens or 0) for call in subcalls)
    print(f"largest call, input and longest answer: {widest} tokens")
    for subcall in subcalls:
        if subcall.state != "ok" or not subcall.observation:
            continue
        has_fact = FACT in subcall.call.messages[-1].content
        noted = json.loads(subcall.observation.output)
        if subcall.call.role == "read_piece" and (has_fact or noted["note"]):
            print(f"  {'THE PIECE WITH THE FACT' if has_fact else 'another piece'}: {noted}")
        elif subcall.call.role == "merge_notes":
            print(f"  merged: {noted}")
    print(f"answer: {result.answer}")
    print(f"the planted fact is in the answer: {FOUND in result.answer}")


if __name__ == "__main__":
    main()
