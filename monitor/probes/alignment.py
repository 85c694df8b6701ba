"""Which codepoints of a text a token stands for, in any script: a byte-level token may hold a part of a codepoint.

Tokens that split a codepoint between them each get the whole of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from monitor.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.local_model import LocalModel

_REPLACEMENT = "�"
_BLANK = "▁"  # SentencePiece's, in the place of a space


@dataclass(frozen=True, slots=True)
class Piece:
    """A token and the codepoints of a text that it stands for (half open). ``special``: one of the tokenizer's own."""

    id: int
    start: int
    end: int
    special: bool = False


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, one codepoint for one; no tokenizer takes them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join(_REPLACEMENT if 0xD800 <= ord(char) < 0xE000 else char for char in text)
    return text


def encoded(model: LocalModel, text: str, *, parse_special: bool, begin: bool) -> list[Piece]:
    """The tokens of a text. ``parse_special`` reads the spelling of a special token as that token; ``begin`` adds what the
    tokenizer puts around a text (such as a token for its beginning), as special pieces without codepoints.
    """
    text = encodable(text)
    with model.lock:
        found = model.tokenizer(
            text,
            add_special_tokens=begin,
            split_special_tokens=not parse_special,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        special = special_ids(model)
        ids, offsets, added = found["input_ids"], found["offset_mapping"], found["special_tokens_mask"]
        around = [bool(flag) and begin and start == end for flag, (start, end) in zip(added, offsets, strict=True)]
        own = [token for token, outside in zip(ids, around, strict=True) if not outside]
        exact = iter(_exact_spans(model, own, text))
        pieces = []
        for token, (start, end), outside in zip(ids, offsets, around, strict=True):
            if outside:
                pieces.append(Piece(token, 0, 0, special=True))
                continue
            first, last = next(exact, (start, end))
            pieces.append(Piece(token, first, last, special=parse_special and token in special))
    return pieces


def _exact_spans(model: LocalModel, ids: Sequence[int], text: str) -> list[tuple[int, int]]:
    """Spans by the tokens' own bytes; none where the tokenizer changed the text (then its own offsets have to do)."""
    pieces = [token_bytes(model, token) for token in ids]
    whole, wanted = b"".join(pieces), text.encode()
    owner = _owners(wanted)[1]
    if lost := _vocabulary(model.tokenizer).lost:  # bytes that the vocabulary does not have vanish without a trace
        owner = [number for byte, number in zip(wanted, owner, strict=True) if byte not in lost]
        wanted = bytes(byte for byte in wanted if byte not in lost)
    if whole == b" " + wanted and pieces and pieces[0].startswith(b" "):  # SentencePiece begins a text with a blank
        pieces[0] = pieces[0][1:]
    elif whole != wanted:
        return []
    return _spans(pieces, owner, len(text))


def decoded(pieces: Sequence[bytes]) -> tuple[str, list[tuple[int, int]]]:
    """The text that the pieces make together, and the codepoints of it that each piece holds, wholly or in part.

    Bytes that are no UTF-8 become U+FFFD, one for each broken sequence, as Python and most servers have it.
    """
    text, owner = _owners(b"".join(pieces))
    return text, _spans(pieces, owner, len(text))


def _spans(pieces: Sequence[bytes], owner: Sequence[int], end: int) -> list[tuple[int, int]]:
    """``owner`` has the codepoint of each byte that the pieces make together; ``end`` is their number."""
    owner = [*owner, end]
    found, at = [], 0
    for piece in pieces:
        start, at = at, at + len(piece)
        found.append((owner[start], owner[at - 1] + 1 if at > start else owner[start]))
    return found


def _owners(data: bytes) -> tuple[str, list[int]]:
    """The text, and for each byte the number of the codepoint that it is of."""
    parts: list[str] = []
    owner: list[int] = []
    count = at = 0
    while at < len(data):
        broken = 0
        try:
            good = data[at:].decode()
        except UnicodeDecodeError as exc:
            good, broken = data[at : at + exc.start].decode(), exc.end - exc.start
        for char in good:
            width = len(char.encode())
            owner.extend([count] * width)
            at, count = at + width, count + 1
        parts.append(good)
        if broken:
            owner.extend([count] * broken)
            at, count = at + broken, count + 1
            parts.append(_REPLACEMENT)
    return "".join(parts), owner


def special_ids(model: LocalModel) -> frozenset[int]:
    """The ids of the tokenizer's special tokens."""
    return _vocabulary(model.tokenizer).special


def token_bytes(model: LocalModel, token: int) -> bytes:
    """The bytes that a token adds to a text; a special token's are those of its spelling.

    Raises:
        ProbeError: the tokenizer has no such token.
    """
    known = _vocabulary(model.tokenizer)
    if token in known.added:
        return known.added[token]
    name = model.tokenizer.convert_ids_to_tokens(token) if 0 <= token < len(model.tokenizer) else None
    if name is None:
        raise ProbeError(
            f"token id {token} is not in the vocabulary of {model.facts.name}: another model wrote these ids"
        )
    if known.byte_level:
        table = _bytes_of_letters()
        return b"".join(table[letter] if letter in table else letter.encode() for letter in name)
    if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
        return bytes([int(name[3:5], 16)])
    return str(name).replace(_BLANK, " ").encode()


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """``lost`` are the bytes for which a byte-level vocabulary has no token, not even one for what is unknown."""

    byte_level: bool
    added: dict[int, bytes]
    special: frozenset[int]
    lost: frozenset[int]


@lru_cache(maxsize=8)
def _vocabulary(tokenizer: Any) -> _Vocabulary:
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    added = tokenizer.added_tokens_decoder
    byte_level = "ByteLevel" in json.dumps(parts.get("decoder"))
    letters = _bytes_of_letters().items() if byte_level and not parts["model"].get("unk_token") else ()
    known = parts["model"].get("vocab", {})
    return _Vocabulary(
        byte_level=byte_level,
        lost=frozenset(byte[0] for letter, byte in letters if letter not in known),
        added={number: token.content.encode() for number, token in added.items()},
        special=frozenset(number for number, token in added.items() if token.special),
    )


@cache
def _bytes_of_letters() -> dict[str, bytes]:
    """GPT-2's table: every byte as a letter that can be printed."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    table = {chr(byte): bytes([byte]) for byte in printed}
    return table | {chr(256 + number): bytes([byte]) for number, byte in enumerate(others)}
