r"""The matching engine beside its peers: bare ``re2.Filter`` with span recovery, and a loop of Python's ``re``.

    python bench/policy_engine.py DATA [ROUNDS]

DATA is a folder with ``rules-atr/*.yaml`` (Agent Threat Rules, for patterns) and ``traces/`` (``agentrx/*.json`` and
``swe-agent/*.traj``, for messages).

Patterns are the distinct regular expressions of the rule files and of our packs that both RE2 and ``re`` take. Where more
are asked for than there are, each further one is a real one in which every word of four letters or more (not one behind
``\``, ``[``, ``{``, ``<``, ``:`` or ``-``) is replaced by a word drawn from the messages' own; the seed is 0.

**bare** is one ``re2.Filter`` with RE2's options as they are, and, for each pattern that it says matches, ``finditer`` for
the first 20 spans. **re** is ``re.finditer`` for the first 20 spans of each pattern. Engine and bare must find as many
spans in each real message, or the script fails; those of ``re``, whose ``\b``, ``\w`` and ``\s`` know Unicode, are counted.

They take turns, round by round, after one round that is not counted (RE2 builds its automata as it goes). Times are the
process's own processor time, so that what else the machine does counts little. Ratios are taken within a round; the median
is given with the smallest and the largest.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import re2
from ruamel.yaml import YAML

from monitor import policy
from monitor.policy.matching import MAX_SPANS, PatternEngine, PatternError, compile_pattern
from monitor.policy.tools.cost import patterns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Search: TypeAlias = "Callable[[str], int]"
"""Searches one text; gives the number of spans found."""

HOSTILE_BYTES = 200_000
PACKS = Path(__file__).parents[1] / "policies"


@dataclass(slots=True)
class Population:
    """Real messages, and as many patterns as are asked for."""

    messages: list[str]
    real: list[str]
    patterns: list[str] = field(default_factory=list)

    def take(self, count: int) -> list[str]:
        """The first ``count`` patterns, the real ones among them first."""
        if not self.patterns:
            self.patterns = list(self.real)
            self._seen, self._random = set(self.real), random.Random(0)
            self._words = sorted({word.group() for text in self.messages for word in re2.finditer("[a-z]{4,}", text)})
        while len(self.patterns) < count:
            varied = self._vary(self._random.choice(self.real))
            if varied not in self._seen and _usable(varied):
                self._seen.add(varied)
                self.patterns.append(varied)
        return self.patterns[:count]

    def _vary(self, pattern: str) -> str:
        def other(word: Any) -> str:
            is_syntax = word.string[max(0, word.start() - 1) : word.start()] in set("\\[{<:-")
            return str(word.group()) if is_syntax else self._random.choice(self._words)

        return str(re2.sub("[A-Za-z]{4,}", other, pattern))

    _seen: set[str] = field(init=False)
    _random: random.Random = field(init=False)
    _words: list[str] = field(init=False)


def _usable(pattern: str) -> bool:
    try:
        compile_pattern(pattern)
        re.compile(pattern)
    except (PatternError, re.error):
        return False
    return True


def _population(data: Path) -> Population:
    found: list[str] = []
    for path in sorted((data / "rules-atr").glob("*.yaml")):
        found += _regexes(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    for pack in sorted(PACKS.glob("*.yaml")):
        found += sorted(patterns_of(rule.detection for rule in policy.load([pack]).rules))
    messages = [text for text in _messages(data / "traces") if text]
    return Population(messages, [pattern for pattern in dict.fromkeys(found) if _usable(pattern)])


def _regexes(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if tree.get("operator") == "regex" and isinstance(tree.get("value"), str):
            yield tree["value"]
        for part in tree.values():
            yield from _regexes(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from _regexes(part)


def _messages(traces: Path) -> Iterator[str]:
    for path in sorted((traces / "agentrx").glob("*.json")):
        yield from (
            message["content"] for message in json.loads(path.read_text()) if isinstance(message["content"], str)
        )
    for path in sorted((traces / "swe-agent").glob("*.traj")):
        for step in json.loads(path.read_text()).get("trajectory", []):
            yield from (step[key] for key in ("thought", "action", "observation") if isinstance(step.get(key), str))


def bare(patterns: Sequence[str]) -> Search:
    """What RE2 offers, and nothing else."""
    matcher = re2.Filter()
    options = re2.Options()
    options.log_errors = False
    for pattern in patterns:
        matcher.Add(pattern, options)
    matcher.Compile()
    compiled = [matcher.re(index) for index in range(len(patterns))]

    def search(text: str) -> int:
        data = text.encode()
        hits = matcher.Match(data) or ()
        return sum(len([match.span() for match in islice(compiled[hit].finditer(data), MAX_SPANS)]) for hit in hits)

    return search


def engine(patterns: Sequence[str]) -> Search:
    """Ours. Its spans are codepoints."""
    made, wanted = PatternEngine(patterns), frozenset(patterns)
    return lambda text: sum(len(offsets) for offsets in made.find(text, wanted).values())


def loop_of_re(patterns: Sequence[str]) -> Search:
    """Python's own, pattern by pattern."""
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda text: sum(
        len([match.span() for match in islice(each.finditer(text), MAX_SPANS)]) for each in compiled
    )


def timed(search: Search, texts: Sequence[str]) -> tuple[float, int]:
    """(processor seconds, spans)."""
    began = time.process_time()
    spans = sum(search(text) for text in texts)
    return time.process_time() - began, spans


def in_turns(searches: dict[str, Search], texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each round but the first."""
    taken: dict[str, list[float]] = {name: [] for name in searches}
    for number in range(rounds + 1):
        for name, search in searches.items():
            seconds, spans = timed(search, texts)
            if number:
                taken[name].append(seconds)
            else:
                print(f"    {name}: {spans} spans")
    return taken


def ratio(above: Sequence[float], below: Sequence[float]) -> str:
    """The ratio of two series, round by round: median (smallest to largest)."""
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def beside_bare(taken: dict[str, list[float]]) -> str:
    """The seconds of both, and their ratio."""
    ours, theirs = taken["engine"], taken["bare"]
    return (
        f"engine {statistics.median(ours):.3f} s, bare {statistics.median(theirs):.3f} s, "
        f"engine / bare {ratio(ours, theirs)}"
    )


def real_messages(population: Population, rounds: int) -> None:
    """1,000 patterns over all real messages."""
    patterns, texts = population.take(1_000), population.messages
    size = sum(len(text.encode()) for text in texts)
    print(f"\n{len(patterns):,} patterns ({len(population.real)} of them real), {len(texts)} messages, {size:,} bytes")
    searches = {"engine": engine(patterns), "bare": bare(patterns)}
    found = [{name: search(text) for name, search in searches.items()} for text in texts]
    differing = [text for text, spans in zip(texts, found, strict=True) if len(set(spans.values())) > 1]
    if differing:
        sys.exit(f"engine and bare differ on {len(differing)} messages, first: {differing[0][:200]!r}")
    taken = in_turns(searches, texts, rounds)
    for name, seconds in taken.items():
        print(f"  {name}: {len(texts) / statistics.median(seconds):,.0f} messages a second")
    print(f"  throughput of the engine, as a share of bare: {ratio(taken['bare'], taken['engine'])}")
    few = in_turns({"engine": searches["engine"], "re": loop_of_re(patterns)}, texts, 3)
    print(f"  re: {len(texts) / statistics.median(few['re']):,.1f} messages a second, 3 rounds")
    print(f"  throughput of the engine, times that of re: {ratio(few['re'], few['engine'])}")


def hostile_texts(population: Population, patterns: Sequence[str]) -> dict[str, str]:
    """Texts of ``HOSTILE_BYTES`` that are made to be slow to search."""
    drawn = random.Random(1)
    words = [word.group() for pattern in patterns for word in re2.finditer("[A-Za-z]{3,}(?: [A-Za-z]{3,})*", pattern)]
    each = list(dict.fromkeys(words))
    drawn.shuffle(each)

    def near(word: str) -> str:
        at = drawn.randrange(len(word))
        return word[:at] + drawn.choice("xyz0 ") + word[at + 1 :]

    bait = "a " * 50 + "aaaaaaaaaaaaaaaaaaaaaaaa! \"'([{<" + "= " * 20
    texts = {
        "real messages, end to end": "\n".join(population.messages),
        "every word of every pattern once, then noise": " ".join(each) + " a b c" * HOSTILE_BYTES,
        "words of the patterns, drawn": " ".join(drawn.choice(words) for _ in range(HOSTILE_BYTES // 3)),
        "the same, each with one letter wrong": " ".join(near(drawn.choice(words)) for _ in range(HOSTILE_BYTES // 3)),
        "bait for nested quantifiers": bait * HOSTILE_BYTES,
        "the patterns' own source text": "\n".join(patterns) * 10,
        "one letter": "a" * HOSTILE_BYTES,
        "blanks": " " * HOSTILE_BYTES,
        "letters that fold across alphabets": "ſKÅ" * HOSTILE_BYTES,
    }
    return {name: text.encode()[:HOSTILE_BYTES].decode(errors="ignore") for name, text in texts.items()}


def hostile(population: Population, rounds: int) -> None:
    """1,600 patterns over each hostile text."""
    patterns = population.take(1_600)
    print(f"\n{len(patterns):,} patterns over {HOSTILE_BYTES:,} bytes of hostile text")
    searches = {"engine": engine(patterns), "bare": bare(patterns)}
    for name, text in hostile_texts(population, patterns).items():
        print(f"  {name}")
        taken = in_turns(searches, [text], rounds)
        print(f"    {beside_bare(taken)}")


def keywords(population: Population, rounds: int) -> None:
    """A list of 2,000 phrases, as ``contains`` makes patterns of them."""
    drawn = random.Random(2)
    words = [word.group() for text in population.messages for word in re2.finditer("[A-Za-z]{3,}", text)]
    phrases: dict[str, None] = {}
    while len(phrases) < 2_000:
        start, length = drawn.randrange(len(words) - 4), drawn.choice((2, 3, 4))
        phrases[" ".join([*words[start : start + length - 1], drawn.choice(words)])] = None
    patterns = [f"(?i){re2.escape(phrase)}" for phrase in phrases]
    print(f"\n{len(patterns):,} phrases in one list")
    searches = {"engine": engine(patterns), "bare": bare(patterns)}
    taken = in_turns(searches, population.messages, rounds)
    for name, seconds in taken.items():
        print(f"  {name}: {len(population.messages) / statistics.median(seconds):,.0f} real messages a second")
    everything = (" ".join(phrases) + " ") * HOSTILE_BYTES
    taken = in_turns(searches, [everything[:HOSTILE_BYTES]], rounds)
    print(f"  {HOSTILE_BYTES:,} bytes of nothing but the phrases: {beside_bare(taken)}")
    room = HOSTILE_BYTES - len(" ".join(phrases))
    taken = in_turns(searches, ["é" * (room // 2) + " ".join(phrases)], rounds)
    print(f"  {HOSTILE_BYTES:,} bytes, the phrases behind letters of two bytes: {beside_bare(taken)}")


def compiling(data: Path) -> None:
    """How compile time and memory grow; each size in a process of its own."""
    print("\ncompiling, each size in a process of its own")
    print("  patterns | pattern bytes | seconds | MiB | MiB after a hostile text")
    for asked in (*(["--compile", str(count)] for count in (100, 200, 400, 800, 1_600, 3_200)), ["--memory"]):
        done = subprocess.run([sys.executable, __file__, str(data), *asked], check=True, capture_output=True, text=True)
        print(f"  {done.stdout.strip()}")


def aimed(patterns: Sequence[str]) -> Iterator[str]:
    """For each pattern a text of 100 KB of the words in it, whole and cut short: what makes its automata large."""
    drawn = random.Random(3)
    for pattern in patterns:
        words = [word.group() for word in re2.finditer("[A-Za-z]{2,}", pattern)] or ["a"]
        words += [word[:-1] for word in words if len(word) > 2]
        yield "".join(drawn.choice(words) + drawn.choice("  \n.x") for _ in range(HOSTILE_BYTES // 5))[
            : HOSTILE_BYTES // 2
        ]


def memory_of_many(population: Population) -> None:
    """Print what 1,600 patterns hold after a text aimed at each of them."""
    patterns = population.take(1_600)
    before, made = _resident(), PatternEngine(patterns)
    for text in aimed(patterns):
        made.find(text, frozenset(patterns))
    print(
        f"{_resident() - before:.0f} MiB after {len(patterns):,} texts, each aimed at one of {len(patterns):,} patterns"
    )


def compile_once(population: Population, count: int) -> None:
    """Compile ``count`` patterns and print what it took."""
    patterns = population.take(count)
    text = hostile_texts(population, patterns)["every word of every pattern once, then noise"]
    before, began = _resident(), time.process_time()
    made = PatternEngine(patterns)
    seconds, compiled = time.process_time() - began, _resident()
    made.find(text, frozenset(patterns))
    size = sum(len(pattern.encode()) for pattern in patterns)
    print(f"{count} | {size:,} | {seconds:.2f} | {compiled - before:.0f} | {_resident() - before:.0f}")


def _resident() -> float:
    """MiB of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4_096 / 2**20


def main(arguments: list[str]) -> int:
    """Print the figures; returns the exit status."""
    if not arguments:
        print(__doc__)
        return 2
    data = Path(arguments[0])
    population = _population(data)
    if arguments[1:2] == ["--compile"]:
        compile_once(population, int(arguments[2]))
        return 0
    if arguments[1:2] == ["--memory"]:
        memory_of_many(population)
        return 0
    rounds = int(arguments[1]) if len(arguments) > 1 else 9
    real_messages(population, rounds)
    hostile(population, rounds)
    keywords(population, rounds)
    compiling(data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
