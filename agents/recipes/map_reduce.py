"""A question about a document that is longer than the model's context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.canonical import escape_text
from monitor.errors import RecipeError
from monitor.orchestrate.pieces import split

if TYPE_CHECKING:
    from monitor import Context
    from monitor.orchestrate.context import CallSize
    from monitor.orchestrate.pieces import Piece


async def map_reduce(
    ctx: Context,
    task: str,
    *,
    document: str = "",
    text: str = "",
    context: int | None = None,
    max_pieces: int = 256,
) -> dict[str, Any]:
    """Ask the question of every piece of a document, then put the notes together until one answer is left.

    Every codepoint of the document is in exactly one piece; ``monitor.orchestrate.pieces.coverage`` proves it from the
    record. Every call fits the model's context, its longest answer included.

    Args:
        ctx: The run's context.
        task: The question.
        document: The path of a UTF-8 file; or the text itself, if it has more than one line.
        text: The text itself, whatever it looks like.
        context: Use no more than so many tokens of the model's context; needed where it is not known.
        max_pieces: Refuse a document that needs more pieces than this, before anything is called.

    Returns:
        ``found`` (whether any piece had something to say), ``answer`` (None if not), the number of ``pieces``, and of
        ``notes`` that were made of them.
    """

    async def size(piece: Piece) -> int:
        return (await ctx.measure("read_piece", task=task, piece=piece.labelled())).input_tokens

    room = _room(await ctx.measure("read_piece", task=task, piece=""), context)
    pieces = await split(_read(document, text), size, room, max_pieces=max_pieces)
    read = await ctx.nest("map").map("read_piece", [{"task": task, "piece": piece.labelled()} for piece in pieces])
    notes = [note for answer in read if (note := _one_line(answer.data["note"]))]
    said: dict[str, Any] = {"found": bool(notes), "answer": None, "pieces": len(pieces), "notes": len(notes)}
    while notes:
        groups = await _groups(ctx, task, notes, context)
        merged = await ctx.nest("reduce").map("merge_notes", [{"task": task, "notes": group} for group in groups])
        if len(merged) == 1:
            return {**said, "answer": merged[0].text}
        notes = [_one_line(answer.text) for answer in merged]
    return said


def _one_line(text: str) -> str:
    """A note on one line, so that none can pass for several."""
    return " ".join(text.split())


def _read(document: str, text: str) -> str:
    """The document itself, escaped as options are when they come in.

    A path has one line, and one that is wrong is never taken for a text.
    """
    if bool(document) == bool(text):
        raise RecipeError("map_reduce needs a document: give one of document=PATH and text=TEXT")
    if text or "\n" in document:
        return text or document
    path = Path(document).expanduser()
    try:
        return escape_text(path.read_bytes().decode("utf-8"))  # read_text would change the ends of lines
    except (OSError, UnicodeDecodeError) as exc:
        raise RecipeError(
            f"document {document!r} in {Path.cwd()} cannot be read as UTF-8: {exc}. A text of one line is given as text="
        ) from exc


def _room(size: CallSize, context: int | None) -> int:
    """How many tokens of input a call of that role may have."""
    known = [tokens for tokens in (size.context_tokens, context) if tokens is not None]
    if not known:
        raise RecipeError("the context of this model is not known: say how many tokens with context=N")
    room = min(known) - size.output_tokens
    if size.input_tokens >= room:
        raise RecipeError(
            f"a context of {min(known)} tokens is too small: the prompt alone has up to {size.input_tokens}, "
            f"the answer up to {size.output_tokens}"
        )
    return room


async def _groups(ctx: Context, task: str, notes: list[str], context: int | None) -> list[list[str]]:
    """The notes in order, as many together as fit; at least two, so that every level has fewer than the one before."""
    room = _room(await ctx.measure("merge_notes", task=task, notes=[]), context)
    groups: list[list[str]] = [[]]
    for note in notes:
        grown = [*groups[-1], note]
        if groups[-1] and (await ctx.measure("merge_notes", task=task, notes=grown)).input_tokens > room:
            if len(groups[-1]) < 2:
                raise RecipeError(
                    f"two notes do not fit a context that leaves {room} tokens: shorten those of read_piece and merge_notes"
                )
            groups.append([note])
        else:
            groups[-1] = grown
    return groups
