"""What an Agent Threat Rule says of itself, as our rules say it. What does not fit is cut or left out, and noted."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from monitor.policy import schema
from monitor.policy.importers.reasons import Reason
from monitor.policy.importers.report import Remark
from monitor.records import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.policy.importers.report import FileReport
    from monitor.strict_yaml import Node

_STATUS = {"stable": "stable", "experimental": "experimental", "draft": "test"}


def line(node: Node, key: str) -> str:
    """A text on one line; "" where there is none, or something else."""
    part = node.get(key)
    return " ".join(part.value.split()) if part is not None and isinstance(part.value, str) else ""


def note(report: FileReport, where: str, detail: str) -> None:
    """Say in the report what was changed or left out."""
    report.remarks.append(Remark(Reason.METADATA, where, detail))


def name(foreign_id: str, title: str) -> str:
    """Lower-case letters, digits and `_`: the id, then as much of the title as fits in words."""
    words = [
        "".join(char if char.isascii() and char.isalnum() else " " for char in part.lower()).split()
        for part in (foreign_id, title)
    ]
    name = "_".join(words[0])[:40]
    name = name if name[:1].isalpha() else f"r_{name}"
    for word in words[1]:
        if len(name) + len(word) + 1 > 64:
            break
        name = f"{name}_{word}"
    return name


def status(root: Node, report: FileReport) -> str:
    """Ours for theirs: a draft, which the peer never runs, is a rule on trial."""
    written = line(root, "status")
    ours = _STATUS.get(written, "experimental")
    if ours in getattr(schema, "LATER_STATUSES", ()):
        note(report, "status", f"`{written}` became experimental")
        return "experimental"
    if written not in _STATUS:
        note(report, "status", f"`{written[:80]}` became experimental")
    return ours


def level(root: Node, report: FileReport) -> str:
    """The severity, by the same words."""
    written = line(root, "severity").lower()
    if written in {level.value for level in Level}:
        return written
    note(report, "severity", f"`{written[:80]}` became high: a level that nobody knows is no reason to act less")
    return Level.HIGH.value


def prose(root: Node) -> str:
    """The description."""
    part = root.get("description")
    return part.value.strip()[:10_000] if part is not None and isinstance(part.value, str) else ""


def author(root: Node) -> str:
    """The author, or the authors."""
    part = root.get("author")
    names = [item.value for item in part.items() if isinstance(item.value, str)] if part else []
    return (", ".join(names) or line(root, "author"))[:256]


def dates(root: Node, report: FileReport) -> dict[str, str]:
    """``date`` and ``modified``, as far as they are dates."""
    found = {}
    for key in ("date", "modified"):
        written = line(root, key)
        try:
            if written:
                found[key] = date.fromisoformat(written.replace("/", "-")[:10]).isoformat()
        except ValueError:
            note(report, key, f"`{written[:80]}` is no date")
    return found


def references(root: Node, report: FileReport) -> Iterator[str]:
    """Each reference with its kind, such as ``cve: CVE-2026-1``."""
    references = root.get("references")
    kinds = references.value.items() if references and isinstance(references.value, dict) else []
    for kind, node in kinds:
        for item in node.items() if isinstance(node.value, list) else [node]:
            text = f"{kind}: {item.value}" if isinstance(item.value, (str, int, float)) else ""
            if not text or len(text) > 256:
                note(report, f"references.{kind}", "not a line of text" if not text else "cut at 256 characters")
            if text:
                yield " ".join(text.split())[:256]


def tags(root: Node, report: FileReport) -> list[str]:
    """The id, the tags, the source of events and the maturity, all below ``atr``."""
    tags = [f"atr.{report.foreign_id}"]
    found = root.get("tags")
    for key, node in found.value.items() if found and isinstance(found.value, dict) else []:
        if isinstance(node.value, str) and node.value.strip():
            tags.append(f"atr.{key}.{' '.join(node.value.split())}")
    source = line(root.get("agent_source") or root, "type")
    tags += [f"atr.source.{source}"] if source else []
    tags += [f"atr.maturity.{maturity}"] if (maturity := line(root, "maturity")) else []
    return [tag[:256] for tag in tags]


def false_positives(root: Node) -> list[str]:
    """What harmless text the author says that it hits."""
    detection = root.get("detection")
    nodes = [place.get("false_positives") for place in (detection, root) if place]
    items = [item for node in nodes if node for item in (node.items() if isinstance(node.value, list) else [node])]
    return [text for item in items if isinstance(item.value, str) and (text := item.value.strip()[:10_000])]


def suppressed(root: Node) -> bool:
    """Whether the peer leaves out what stands in code blocks."""
    tags = root.get("tags")
    return bool(tags and (flag := tags.get("suppress_in_code_blocks")) and flag.value is True)
