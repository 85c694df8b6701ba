"""Packs as YAML that says the same to every reader: each text in quotes, nothing invisible left as it is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 1_000_000_000  # a text is never folded: a pattern is one line


class Words(str):
    """A text that needs no quotes: an identifier, which no reader takes for anything else."""

    __slots__ = ()


def to_yaml(value: Mapping[str, Any], header: str) -> str:
    """The pack as text, below a comment. A map may name comments for its keys under ``Comments``."""
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.allow_unicode = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_node(value), stream)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    return comment + "".join(char if _plain(char) else _escape(char) for char in stream.getvalue())


class Comments(dict[str, Any]):
    """A map of which some keys have a comment above them."""

    def __init__(self, values: Mapping[str, Any], comments: Mapping[str, str]) -> None:
        super().__init__(values)
        self.comments = dict(comments)


def _plain(char: str) -> bool:
    return char == "\n" or char.isprintable()


def _escape(char: str) -> str:
    """Only texts in double quotes have such characters (``_quoted``), and there this is the character."""
    return f"\\u{ord(char):04X}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08X}"


def _node(value: Any) -> Any:
    if isinstance(value, dict):
        made = CommentedMap({key: _node(item) for key, item in value.items()})
        for key, comment in (value.comments if isinstance(value, Comments) else {}).items():
            made.yaml_set_comment_before_after_key(key, before=_comment(comment), indent=6)
        return made
    if isinstance(value, (list, tuple)):
        return _sequence(value)
    if isinstance(value, Words) or not isinstance(value, str):
        return str(value) if isinstance(value, str) else value
    return _quoted(value)


def _sequence(values: Sequence[Any]) -> CommentedSeq:
    return CommentedSeq([_node(value) for value in values])


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))[:200].strip()


def _quoted(text: str) -> Any:
    if text and all(char.isprintable() for char in text):
        return SingleQuotedScalarString(text)
    return DoubleQuotedScalarString(text)
