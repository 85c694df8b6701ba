"""The pages of the documentation and the fenced blocks on them.

A block's first word names its language, the next one what part it is of (``python recipe``, ``markdown role``).
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]))
ELSEWHERE = frozenset(
    {
        "policies.md",
        "policy-language.md",
        "models.md",
        "langchain.md",
        "openai.md",
        "agents-sdk.md",
        "opentelemetry.md",
        "python.md",
    }
)
"""Pages whose Python and YAML are tried by ``tests/policy/test_guide.py``, ``tests/models/test_models_page.py`` and the
``test_page.py`` of each adapter."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; ``line`` is that of its first line of content."""

    page: Path
    line: int
    language: str
    part: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(language: str, part: str | None = None, *, on: Path | None = None) -> list[Block]:
    """The blocks of a language on all pages, or on one; of every part, or of one (``""`` is none)."""
    found = [block for page in PAGES if on in {None, page} for block in _blocks_of(page)]
    return [block for block in found if block.language == language and part in {None, block.part}]


def _blocks_of(page: Path) -> list[Block]:
    found: list[Block] = []
    opened: tuple[int, str] | None = None
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = number, line.removeprefix("```").strip()
            continue
        first, info = opened
        language, _, part = info.partition(" ")
        text = "\n".join(lines[first : number - 1]) + "\n"
        found.append(Block(page, first + 1, language, part, textwrap.dedent(text)))
        opened = None
    assert opened is None, f"{page}:{opened and opened[0]}: a block that is never closed"
    return found
