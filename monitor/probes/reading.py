"""A text as a model reads it: exact ids, and for each of them which text it belongs to and where it stands there.

The spelling of a special token inside of a text (``<|im_end|>``) is read as the text that it is: no text can close its own
turn or open another's.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from monitor.probes.alignment import Piece, decoded, encodable, encoded, special_ids, token_bytes
from monitor.probes.chat import Placed, as_tokens, found_once, rendered, template_pieces
from monitor.probes.stored_text import THINK_CLOSE, THINK_OPEN, places
from monitor.probes.words import Surface, Token, TokenText

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.probes.local_model import LocalModel
    from monitor.probes.stored_text import Place
    from monitor.records import Message

PLAIN_TOKENS = 1024
CHAT_TOKENS = 4096


def read_plain(
    model: LocalModel, text: str, surface: Surface = Surface.TEXT, *, max_tokens: int = PLAIN_TOKENS
) -> TokenText:
    """A text alone, with the special tokens that the tokenizer puts around any text (surface None)."""
    pieces = encoded(model, text, parse_special=False, begin=True)
    return _capped(model, as_tokens(pieces, [Placed(0, len(text), surface)] if text else []), max_tokens)


def read_chat(
    model: LocalModel,
    messages: Sequence[Message],
    *,
    reasoning: str = "",
    output: str = "",
    max_tokens: int = CHAT_TOKENS,
) -> TokenText:
    """Messages in the model's own chat template, then an assistant's answer to them.

    Contents of messages are PROMPT, of tools' messages TOOL, each with places in its own content; then come REASONING,
    between the tags ``<think>`` and ``</think>``, and OUTPUT. Tags, special tokens and what the template adds are of no
    surface. A token that holds the end of a content and the begin of what follows belongs to the content.

    Raises:
        ProbeError: the model has no chat template, or the template refuses these messages.
    """
    prompt = rendered(model, messages)
    reasoning, output = encodable(reasoning), encodable(output)
    opened = prompt.text.rstrip().endswith(THINK_OPEN)  # by the template
    head, tail = "" if opened else f"{THINK_OPEN}\n", f"\n{THINK_CLOSE}\n\n"
    if not (reasoning or opened):
        head = tail = ""
    thought_ends = len(head) + len(reasoning)
    answer = head + reasoning + tail + output
    placed = [
        Placed(len(head), thought_ends, Surface.REASONING),
        Placed(thought_ends + len(tail), len(answer), Surface.OUTPUT),
    ]
    tokens = [
        *as_tokens(template_pieces(model, prompt), prompt.placed),
        *as_tokens(
            encoded(model, answer, parse_special=False, begin=False), [part for part in placed if part.end > part.start]
        ),
    ]
    return _capped(model, tokens, max_tokens)


def read_ids(
    model: LocalModel,
    prompt_ids: Sequence[int],
    output_ids: Sequence[int],
    *,
    reasoning: str = "",
    output: str = "",
    raw: str = "",
    messages: Sequence[Message] = (),
    max_tokens: int = CHAT_TOKENS,
) -> TokenText:
    """The ids that a model read and wrote, with the places of its answer in the stored reasoning and output.

    ``raw`` is the reply word for word, empty where that is the output. ``messages`` are what the prompt was made from;
    without them its tokens are of no surface. In an answer that is JSON, punctuation is of no surface.

    Raises:
        ProbeError: the ids do not say what the stored texts say, or are of another vocabulary.
    """
    pieces = _pieces(model, prompt_ids, spell_special=True)
    prompt_text = decoded(pieces)[0]
    placed: Sequence[Placed] = ()
    if messages:
        prompt = rendered(model, messages)
        surfaces = [Surface.TOOL if message.role == "tool" else Surface.PROMPT for message in messages]
        same = prompt.text == prompt_text  # not so where tools were described to the model
        placed = (
            prompt.placed
            if same
            else found_once(prompt_text, [encodable(message.content) for message in messages], surfaces)
        )
    tokens = [
        *as_tokens(_spanned(model, prompt_ids, pieces), placed),
        *_answer(model, output_ids, reasoning=reasoning, output=output, raw=raw),
    ]
    return _capped(model, tokens, max_tokens)


def _answer(model: LocalModel, ids: Sequence[int], *, reasoning: str, output: str, raw: str) -> list[Token]:
    pieces = _pieces(model, ids, spell_special=False)
    text, spans = decoded(pieces)
    where = places(text, reasoning=reasoning, output=output, raw=raw)
    return [_token(token, where[start:end]) for token, (start, end) in zip(ids, spans, strict=True)]


def _token(token: int, found: Sequence[Place | None]) -> Token:
    """A token of the surface that most of its codepoints are of, the later one where that is even."""
    touched = [place for place in found if place is not None]
    if not touched:
        return Token(token)
    surface = Counter(place[0] for place in reversed(touched)).most_common(1)[0][0]
    own = [place for place in touched if place[0] is surface]
    return Token(token, surface, min(start for _, start, _ in own), max(end for _, _, end in own))


def _pieces(model: LocalModel, ids: Sequence[int], *, spell_special: bool) -> list[bytes]:
    """What each id adds to the text; a server leaves special tokens out of an answer's text."""
    with model.lock:
        special = frozenset() if spell_special else special_ids(model)
        return [b"" if token in special else token_bytes(model, token) for token in ids]


def _spanned(model: LocalModel, ids: Sequence[int], pieces: Sequence[bytes]) -> list[Piece]:
    special = special_ids(model)
    spans = decoded(pieces)[1]
    return [Piece(token, start, end, token in special) for token, (start, end) in zip(ids, spans, strict=True)]


def _capped(model: LocalModel, tokens: Iterable[Token], max_tokens: int) -> TokenText:
    """The first tokens, as many as were asked for and as the model's context has room for; the rest is counted."""
    every = tuple(tokens)
    most = min(max_tokens, model.context_tokens or max_tokens)
    return TokenText(tokens=every[:most], unread=max(0, len(every) - most))
