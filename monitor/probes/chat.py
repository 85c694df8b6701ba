"""Messages as a model's own chat template puts them, and where in that text each message's content stands."""

from __future__ import annotations

import json
import secrets
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.errors import ProbeError
from monitor.probes.alignment import Piece, encodable, encoded
from monitor.probes.words import Surface, Token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.probes.local_model import LocalModel
    from monitor.records import Message


@dataclass(frozen=True, slots=True)
class Placed:
    """A part of a larger text that belongs to a surface: codepoints ``start`` to ``end`` of the larger text (half open),
    and ``offset``, where the part begins in its own text.
    """

    start: int
    end: int
    surface: Surface
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as text; ``placed`` is in order and does not overlap."""

    text: str
    placed: tuple[Placed, ...]


def rendered(model: LocalModel, messages: Sequence[Message]) -> Rendered:
    """The prompt that these messages make, up to where the assistant's answer begins.

    A content that the template changes by more than cutting off blanks is placed only where it is found once.

    Raises:
        ProbeError: the model has no chat template, or the template refuses these messages.
    """
    contents = [encodable(message.content) for message in messages]
    text = _apply(model, messages, contents)
    mark = secrets.token_hex(16)
    marked = _apply(model, messages, [content and f"{mark}{number:06d}" for number, content in enumerate(contents)])
    surfaces = [Surface.TOOL if message.role == "tool" else Surface.PROMPT for message in messages]
    placed = _by_marks(text, marked.split(mark), contents, surfaces)
    return Rendered(text, tuple(placed) if placed is not None else found_once(text, contents, surfaces))


def found_once(text: str, contents: Sequence[str], surfaces: Sequence[Surface]) -> tuple[Placed, ...]:
    """Place each content that occurs exactly once in ``text``, after those placed before it; the others are left out."""
    placed: list[Placed] = []
    for content, surface in zip(contents, surfaces, strict=True):
        start = text.find(content) if content else -1
        if start >= (placed[-1].end if placed else 0) and text.find(content, start + 1) < 0:
            placed.append(Placed(start, start + len(content), surface))
    return tuple(placed)


def template_pieces(model: LocalModel, prompt: Rendered) -> list[Piece]:
    """The prompt's tokens. Special tokens are the template's own: their spelling inside of a content is read as text."""
    pieces = encoded(model, prompt.text, parse_special=True, begin=False)
    inside = [bool(_overlap(piece, prompt.placed)) and piece.special for piece in pieces]
    if not any(inside):
        return pieces
    found: list[Piece] = []
    at = 0
    for piece in [*(p for p, content in zip(pieces, inside, strict=True) if p.special and not content), None]:
        between = prompt.text[at : piece.start if piece else len(prompt.text)]
        found += [
            Piece(part.id, part.start + at, part.end + at)
            for part in encoded(model, between, parse_special=False, begin=False)
        ]
        if piece:
            found.append(piece)
            at = piece.end
    return found


def as_tokens(pieces: Sequence[Piece], placed: Sequence[Placed]) -> Iterator[Token]:
    """Tokens with surface and place in the text of that surface; None for those that touch no placed text."""
    for piece in pieces:
        part = None if piece.special else _overlap(piece, placed)
        if part is None:
            yield Token(piece.id)
        else:
            shift = part.offset - part.start
            yield Token(piece.id, part.surface, max(piece.start, part.start) + shift, min(piece.end, part.end) + shift)


def _overlap(piece: Piece, placed: Sequence[Placed]) -> Placed | None:
    """The part that a piece touches: the last of them where it touches several."""
    number = bisect_right(placed, piece.end - 1, key=lambda part: part.start) - 1
    if number < 0 or piece.end <= piece.start or placed[number].end <= piece.start:
        return None
    return placed[number]


def _apply(model: LocalModel, messages: Sequence[Message], contents: Sequence[str]) -> str:
    if not model.facts.template:
        raise ProbeError(
            f"{model.facts.name} has no chat template; use the format 'plain', or a model that was trained for chat"
        )
    conversation = [_as_dict(message, content) for message, content in zip(messages, contents, strict=True)]
    try:
        return str(model.tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True))
    except Exception as exc:
        raise ProbeError(f"the chat template of {model.facts.name} refuses these messages: {exc}") from exc


def _as_dict(message: Message, content: str) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def _arguments(text: str) -> Any:
    """Arguments as templates want them, parsed; as they are where they are no JSON."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text


def _by_marks(
    text: str, marked: Sequence[str], contents: Sequence[str], surfaces: Sequence[Surface]
) -> list[Placed] | None:
    """Place contents where a rendering of marks has the marks; None where the template did more than put them in."""
    if not text.startswith(marked[0]):
        return None
    at, placed = len(marked[0]), []
    for part in marked[1:]:
        number, after = int(part[:6]), part[6:]
        content = contents[number]
        for form in (content, content.strip(), content.rstrip(), content.lstrip()):
            if text.startswith(form + after, at):
                placed.append(Placed(at, at + len(form), surfaces[number], content.find(form)))
                at += len(form) + len(after)
                break
        else:
            return None
    return [part for part in placed if part.end > part.start] if at == len(text) else None
