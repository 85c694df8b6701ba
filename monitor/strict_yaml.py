"""YAML as a tree that remembers where everything stands, read more strictly than YAML asks.

Policy packs and the front matter of roles decide what is caught and what is allowed, so nothing in them may mean something
else than it seems to: keys may not repeat, ``no`` and ``off`` stay words, dates stay text, and anchors, aliases, tags and
second documents are refused (an alias can make a small file enormous). Every fault that can be found is reported, not only
the first.

Two parsers make the events that a tree is built of. ``ruamel.yaml`` follows YAML 1.2 and says well what is wrong; it takes
a second for the shipped packs. libyaml (by way of PyYAML) takes a thirtieth of that, and is of YAML 1.1: what it reads
without complaint, and has nothing in it that the two versions disagree on, both read alike. Everything else goes to the
slow one.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import re2
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from monitor.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
_DISPUTED = re2.compile("[\r\x85\u2028\u2029\ufeff\t]|(?m:^[ -]*\\?(?:\\s|$))|(?:^|\\s)[|>][-+0-9]*#")
"""Line breaks other than the usual one, marks of byte order, tabs, keys with an indicator of their own (``? key``), and a
comment that touches the head of a block of text."""
_NODES = frozenset({"AliasEvent", "ScalarEvent", "SequenceStartEvent", "MappingStartEvent"})

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


_START = Mark(1, 1)


@dataclass(slots=True)
class Node:
    """One value of the file. ``keys`` has the place of each key of a mapping.

    ``inline`` is true for a scalar whose text stands in the file as it is, so that an offset in it is an offset there.
    """

    value: Scalar | list[Node] | dict[str, Node]
    mark: Mark
    keys: dict[str, Mark] = field(default_factory=dict)
    inline: bool = False

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def get(self, key: str) -> Node | None:
        """The node under ``key``, or None where there is none or this is no mapping."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def items(self) -> list[Node]:
        """The items of a list; nothing for any other value."""
        return self.value if isinstance(self.value, list) else []

    def place(self, path: Sequence[str | int]) -> Mark:
        """The place of the key or item at ``path``, or of the deepest part of it that exists."""
        node, mark = self, self.mark
        for step in path:
            if isinstance(node.value, dict) and isinstance(step, str) and step in node.value:
                node, mark = node.value[step], node.keys[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.mark
            else:
                break
        return mark


class _UnreadableError(Exception):
    """The rest of the file cannot be read; the fault is already in the list."""


def read(path: Path, faults: list[Fault]) -> Node | None:
    """Read one YAML file; what is wrong is appended to ``faults``. None where there is no tree to speak of."""
    text = text_of(path, faults)
    return None if text is None else parse(text, str(path), faults)


def text_of(path: Path, faults: list[Fault]) -> str | None:
    """The text of a file, not yet read as YAML; as ``read``."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        faults.append(Fault(str(path), 1, 1, f"the file cannot be read: {exc.strerror}.", "Check the path."))
        return None
    if len(data) > MAX_BYTES:
        problem = f"the file has {len(data):,} bytes; at most {MAX_BYTES:,} are read."
        faults.append(Fault(str(path), 1, 1, problem, "Split it into several files."))
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        faults.append(Fault(str(path), line, 1, "the file is not UTF-8 text.", "Save it as UTF-8."))
        return None


def parse(text: str, path: str, faults: list[Fault]) -> Node | None:
    """Parse YAML text; as ``read``."""
    return _Composer(path, faults).compose(text)


class _Composer:
    """Turns the parser's events into nodes."""

    def __init__(self, path: str, faults: list[Fault]) -> None:
        self._path = path
        self._faults = faults
        self._events: Iterator[Any] = iter(())

    def compose(self, text: str) -> Node | None:
        try:
            self._events = events(text)
            root = self._document()
        except _UnreadableError:
            return None
        except MarkedYAMLError as exc:
            found = exc.problem_mark or exc.context_mark
            mark = Mark(found.line + 1, found.column + 1) if found else Mark(1, 1)
            said = " ".join(part for part in (exc.context, exc.problem) if part)
            fix = "Check the indentation, quotes and colons around here."
            if "mapping values are not allowed" in said:
                fix = "A text with a colon and a space in it must stand in single quotes."
            self._fault(mark, f"this is not YAML: {said}.", fix)
            return None
        except (YAMLError, ValueError, RecursionError) as exc:
            self._fault(Mark(1, 1), f"this is not YAML: {str(exc).splitlines()[0]}.", "Check for control characters.")
            return None
        if root is None:
            self._fault(Mark(1, 1), "there is nothing here.", "Write `name: value` lines.")
        return root

    def _fault(self, mark: Mark, problem: str, fix: str) -> None:
        self._faults.append(Fault(self._path, mark.line, mark.column, problem, fix))

    def _document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if _kind(event) == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    self._fault(_mark(event), "a second document begins here.", "Put one document in one file.")
                    raise _UnreadableError
            elif _kind(event) in _NODES:
                root = self._node(event, depth=1)
        return root

    def _node(self, event: Any, depth: int, before: Mark = _START) -> Node:
        """The node of an event. One that is not written at all has the place of what stands ``before`` it."""
        mark = before if _kind(event) == "ScalarEvent" and not (event.value or event.style) else _mark(event)
        if depth > MAX_DEPTH:
            self._fault(mark, f"more than {MAX_DEPTH} levels of nesting.", "Flatten the file.")
            raise _UnreadableError
        if _kind(event) == "AliasEvent":
            self._fault(mark, f"`*{event.anchor}` repeats another part.", "Write the part out; aliases are refused.")
            return Node(None, mark)
        if event.anchor is not None:
            self._fault(mark, f"`&{event.anchor}` is an anchor.", "Leave it out; anchors and aliases are refused.")
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = str(tag).replace("tag:yaml.org,2002:", "!!")
            self._fault(mark, f"`{shown}` is a YAML tag.", "Leave it out; use quotes for text.")
        if _kind(event) == "ScalarEvent":
            return _scalar(event, mark)
        if _kind(event) == "SequenceStartEvent":
            return self._sequence(mark, depth)
        assert _kind(event) == "MappingStartEvent"
        return self._mapping(mark, depth)

    def _sequence(self, mark: Mark, depth: int) -> Node:
        items: list[Node] = []
        for event in self._events:
            if _kind(event) == "SequenceEndEvent":
                break
            items.append(self._node(event, depth + 1, items[-1].mark if items else mark))
        return Node(items, mark)

    def _mapping(self, mark: Mark, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        for event in self._events:
            if _kind(event) == "MappingEndEvent":
                break
            key = self._node(event, depth + 1, mark)
            value = self._node(next(self._events), depth + 1, key.mark)
            name = _joined(event.value) if _kind(event) == "ScalarEvent" else None
            if name is None:
                self._fault(key.mark, "a key must be one word or phrase.", "Write `name: value`.")
            elif name in values:
                problem = f"`{name}` stands here a second time (first in line {keys[name].line})."
                self._fault(key.mark, problem, "Keep one of the two, or make it a list.")
            else:
                values[name], keys[name] = value, key.mark
        return Node(values, mark, keys)


def events(text: str) -> Iterator[Any]:
    """The events of a YAML text, by whichever parser is right for it. Raises what ``ruamel.yaml`` raises."""
    if not _is_disputed(text):
        try:
            found = list(_shallow(yaml.parse(text, Loader=yaml.CSafeLoader)))
        except (yaml.YAMLError, ValueError):
            pass  # it may be right all the same; and if it is wrong, the other one says so better
        else:
            if not any(_is_unusual(event, text) for event in found):
                return iter(found)
    return slow_events(text)


def _is_unusual(event: Any, text: str) -> bool:
    """Whether an event has what is refused (an anchor, an alias, a tag: the slow parser says how they are written), or
    follows a ``?`` on its line.
    """
    before = text[max(0, event.start_mark.index - 80) : event.start_mark.index].rstrip(" ")
    return bool(getattr(event, "anchor", None) or getattr(event, "tag", None) or before.endswith("?"))


def _shallow(found: Iterable[Any]) -> Iterator[Any]:
    """The same events. Raises ValueError where they are nested deeper than is allowed: libyaml's time grows with the
    square of the depth, and the other parser's caller stops at the first that is too deep.
    """
    depth = 0
    for event in found:
        kind = _kind(event)
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > MAX_DEPTH + 2:  # the stream's own start and the document's
            raise ValueError("nested too deep")
        yield event


def _is_disputed(text: str) -> bool:
    try:
        return _DISPUTED.search(text) is not None
    except UnicodeEncodeError:
        return True


def slow_events(text: str) -> Iterator[Any]:
    """As ``events``, always by ``ruamel.yaml``."""
    return iter(YAML(typ="safe", pure=True).parse(io.StringIO(text)))


def _kind(event: Any) -> str:
    """The events of both parsers have the same names."""
    return type(event).__name__


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _scalar(event: Any, mark: Mark) -> Node:
    text, style = event.value, event.style or None  # a plain scalar's is None to one parser and empty to the other
    quoted = style is not None
    inline = event.start_mark.line == event.end_mark.line and style in {None, "'", '"'}
    start = Mark(mark.line, mark.column + 1) if inline and quoted else mark
    return Node(_joined(text) if quoted else _resolve(text), start, inline=inline)


def _joined(text: str) -> str:
    """Two escapes that are the halves of one character (JSON writes them so) are that character."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _resolve(text: str) -> Scalar:
    """JSON's scalars and nothing more: dates, ``no``, ``0o17``, ``1_000`` and ``.5`` are text."""
    constants: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}
    if text in constants:
        return constants[text]
    unsigned = text.removeprefix("-")
    if not (unsigned.isascii() and unsigned[:1].isdigit()) or set(unsigned) - set("0123456789.eE+-"):
        return text
    if unsigned.isdigit():
        leading_zero = len(unsigned) > 1 and unsigned[0] == "0"
        return text if leading_zero or len(unsigned) > 400 else int(text)
    try:
        return float(text)
    except ValueError:
        return text
