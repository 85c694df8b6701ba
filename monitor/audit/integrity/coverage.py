"""How much was really checked: of all subcalls, of every text surface, by which packs, and what stayed open.

Only what a rule or probe concluded counts (``match`` or ``no_match``); ``unknown`` and ``not_applicable`` are counted
apart, and a rule on trial, which has no part in any verdict, covers nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.records import MONITORS

if TYPE_CHECKING:
    from collections.abc import Mapping

SURFACES = ("task", "messages", "reasoning", "output", "raw", "tool_calls", "error")
"""The texts of a subcall, as coverage counts them: ``messages`` are all that it was handed, ``tool_calls`` all it wrote."""

_CONCLUSIVE = frozenset({"match", "no_match"})
_UNNAMED = "(no pack)"


@dataclass(slots=True)
class Share:
    """Of ``present`` so many were ``checked``; ``unclear`` are those where it is not known what the rules that ran read."""

    present: int = 0
    checked: int = 0
    unclear: int = 0

    @property
    def share(self) -> float | None:
        """The checked part of what is present, None where nothing is."""
        return self.checked / self.present if self.present else None


@dataclass(slots=True)
class CoverageCount:
    """Counts subcalls as their events go by.

    ``subcalls`` are those that came back: of these,
    ``unchecked`` were left so by their recipe, ``unjudged`` have no findings, and ``checked`` have a conclusive one. The
    monitor's ``own`` subcalls, questions to a judge, are no part of that: what they are about is what is to be checked.
    """

    subcalls: Share = field(default_factory=Share)
    unchecked: int = 0
    unjudged: int = 0
    unmeasured: int = 0
    own: int = 0
    surfaces: dict[str, Share] = field(default_factory=lambda: {name: Share() for name in SURFACES})
    packs: dict[str, Counter[str]] = field(default_factory=dict)
    probes: dict[str, Counter[str]] = field(default_factory=dict)
    trials: Counter[str] = field(default_factory=Counter)
    strangers: set[str] = field(default_factory=set)
    _open: dict[tuple[str, str], _Subcall] = field(default_factory=dict)
    _alike: Counter[tuple[frozenset[str], frozenset[str], frozenset[str]]] = field(default_factory=Counter)
    _names: dict[str, str] = field(default_factory=dict)

    def take(self, run: str, span: str, kind: str, body: Mapping[str, Any]) -> None:
        """Take one event into account."""
        key = (run, span)
        if kind == "started" and body.get("adapter") == MONITORS and not body.get("checked", True):
            self.own += 1
        elif kind == "started":
            texts = {name for name in ("task", "messages") if _length(body.get(name))}
            self._open[key] = _Subcall(texts, is_checked=bool(body.get("checked", True)))
        elif kind == "observed" and key in self._open:
            self._open[key].observe(body)
        elif kind == "judged" and key in self._open:
            self._judge(self._open.pop(key), body)

    def finish(self) -> None:
        """Count what came back and was never judged."""
        for subcall in self._open.values():
            if subcall.is_observed:
                self.unjudged += 1
                self._count(subcall, set(), set(), is_checked=False)
        self._open.clear()

    def resolve(self, reads: Mapping[str, frozenset[str]]) -> None:
        """Fill ``surfaces``, once, by what each rule reads: its surfaces by its hash.

        ``packs`` names the packs that are needed for it; ``strangers`` are rules that ran and are not among ``reads``.
        """
        for (texts, hashes, read_by_probes), count in self._alike.items():
            unknown = hashes - reads.keys()
            self.strangers |= {f"{self._names[name]} ({name[:12]})" for name in unknown}
            read = read_by_probes.union(*(reads[name] for name in hashes - unknown))
            for text in texts:
                share = self.surfaces[text]
                share.present += count
                share.checked += count * (text in read)
                share.unclear += count * (bool(unknown) and text not in read)
        self._alike.clear()

    def _judge(self, subcall: _Subcall, body: Mapping[str, Any]) -> None:
        self.unchecked += not subcall.is_checked
        verdict = body.get("verdict")
        self.unmeasured += isinstance(verdict, dict) and verdict.get("value") == "unmeasured"
        hashes: set[str] = set()
        read: set[str] = set()
        is_checked = False
        for finding in body.get("findings", ()):
            check, status, name = finding.get("check"), finding.get("status", ""), finding.get("name", "")
            if check == "budget":
                continue
            if finding.get("shadow"):
                self.trials[status] += 1
                continue
            where, key = (self.probes, name) if check == "probe" else (self.packs, finding.get("pack") or _UNNAMED)
            where.setdefault(key, Counter())[status] += 1
            if status not in _CONCLUSIVE:
                continue
            is_checked = True
            if check == "probe":
                scores = body.get("probes") or ()
                read |= {_surface(score["surface"]) for score in scores if score.get("probe") == name}
            else:
                hashes.add(str(finding.get("rule_hash")))
                self._names[str(finding.get("rule_hash"))] = name
        self._count(subcall, hashes, read, is_checked=is_checked)

    def _count(self, subcall: _Subcall, hashes: set[str], read: set[str], *, is_checked: bool) -> None:
        self.subcalls.present += 1
        self.subcalls.checked += is_checked
        self._alike[frozenset(subcall.texts), frozenset(hashes), frozenset(read)] += 1


@dataclass(slots=True)
class _Subcall:
    texts: set[str]
    is_checked: bool
    is_observed: bool = False

    def observe(self, body: Mapping[str, Any]) -> None:
        """Take in which texts came back."""
        self.is_observed = True
        self.texts |= {name for name in ("output", "raw") if _length(body.get(name))}
        reasoning, error = body.get("reasoning"), body.get("error")
        if isinstance(reasoning, dict) and _length(reasoning.get("text")):
            self.texts.add("reasoning")
        if isinstance(error, dict) and _length(error.get("message")):
            self.texts.add("error")
        if body.get("tool_calls"):
            self.texts.add("tool_calls")


def _length(value: Any) -> int:
    """The length of a text or history in an event; what is empty stands there as ``""`` or ``[]``."""
    return int(value.get("n", 0)) if isinstance(value, dict) else 0


def _surface(name: str) -> str:
    """``messages[2].content`` is one of the messages, ``tool_calls[0].arguments`` one of the tool calls."""
    return name.partition("[")[0]
