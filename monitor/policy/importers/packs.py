"""The packs that an import writes: small enough for our loader, and loaded before anybody gets them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor import strict_yaml
from monitor.errors import PolicyError
from monitor.policy.importers.writing import Words, to_yaml
from monitor.policy.loader import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from monitor.errors import Fault
    from monitor.policy.rules import PolicySet

PROJECT = "https://github.com/Agent-Threat-Rule/agent-threat-rules"
MARK = "Imported from Agent Threat Rules"
"""The first words of every pack that is made here."""

_HEADER = f"""{MARK} ({PROJECT}) by `monitor policy import atr`.
Change the originals and import again, or give the pack another name: an import writes over this file.

The rules and their tests are the work of the ATR contributors; each rule names the one it was made from.

{{licence}}"""
_LICENCE = """MIT License

Copyright (c) 2026 ATR Contributors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE."""
MAX_PACK = 900_000  # characters escaped: well below what the loader reads


def loaded(packs: Mapping[str, str]) -> PolicySet:
    """The packs (name → text) as our loader has them, all at once. Raises PolicyError."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in packs.items():
            paths.append(Path(folder, f"{name}.yaml"))
            paths[-1].write_text(text, encoding="utf-8")
        return load(paths)


def loadable_packs(rules: Sequence[dict[str, Any]], name: str) -> tuple[dict[str, str], dict[int, str]]:
    """The packs, which load, and why rules (by their number) are not in them.

    Raises PolicyError where a fault is in no rule.
    """
    refused: dict[int, str] = {}
    while True:
        left = [number for number in range(len(rules)) if number not in refused]
        packs, places = {}, {}
        for own, group in _groups(rules, left, name):
            packs[own], places[f"{own}.yaml"] = pack_text([rules[number] for number in group], own), group
        try:
            loaded(packs)
        except PolicyError as exc:
            found = dict(_blamed(exc.faults, packs, places))
            if not found:
                raise
            refused |= found
        else:
            return packs, refused


def _blamed(
    faults: Iterable[Fault], packs: Mapping[str, str], places: Mapping[str, list[int]]
) -> Iterator[tuple[int, str]]:
    """The rules in which faults are, with what is wrong."""
    starts: dict[str, list[int]] = {}
    for name, text in packs.items():
        root = strict_yaml.parse(text, name, [])
        rules = root.get("rules") if root is not None else None
        starts[f"{name}.yaml"] = [node.mark.line for node in (rules.items() if rules else [])]
    for fault in faults:
        file = Path(fault.path).name
        before = [index for index, line in enumerate(starts.get(file, [])) if line <= fault.line]
        if before:
            yield places[file][before[-1]], fault.problem


def _groups(rules: Sequence[dict[str, Any]], left: Iterable[int], name: str) -> Iterator[tuple[str, list[int]]]:
    """The names of the packs with the numbers of their rules, each small enough for the loader."""
    groups: list[list[int]] = []
    size = MAX_PACK
    for index in left:
        length = len(pack_text([rules[index]], name).encode())
        if size + length > MAX_PACK:
            groups.append([])
            size = 0
        groups[-1].append(index)
        size += length
    for number, group in enumerate(groups, start=1):
        yield (name if number == 1 else f"{name[:58]}_{number}"), group


def pack_text(rules: Sequence[dict[str, Any]], name: str) -> str:
    """One pack."""
    pack = {
        "pack": Words(name),
        "version": Words("1.0.0"),
        "description": f"{MARK}. What these rules do follows from their level, not from the originals' `response`.",
        "author": "ATR Contributors",
        "license": "MIT",
        "references": [PROJECT],
        "rules": list(rules),
    }
    return to_yaml(pack, _HEADER.format(licence=_LICENCE))
