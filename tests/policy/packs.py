"""The text of small packs."""

from __future__ import annotations

HEADER = "pack: example\nversion: 1.0.0\nrules:\n"


def pack(detection: str, level: str = "medium", tests: str = "") -> str:
    """A pack of one rule with this ``detection`` (and ``tests``), which are indented here."""
    lines = [
        "  - title: Example",
        "    id: 3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11",
        "    name: example",
        f"    level: {level}",
        "    detection:",
        *(f"      {line}" for line in detection.strip("\n").splitlines()),
    ]
    if tests:
        lines += ["    tests:", *(f"      {line}" for line in tests.strip("\n").splitlines())]
    return HEADER + "\n".join(lines) + "\n"
