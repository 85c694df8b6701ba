"""Signed notes with Ed25519 and checkpoints, as C2SP has them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).

A key is one line of text. The public one, to be handed out, is ``NAME+KEYID+BASE64(0x01 || public key)``; the private one,
to be kept where the store is not, is ``PRIVATE+KEY+NAME+KEYID+BASE64(0x01 || seed)``. Both are the forms of Go's
``golang.org/x/mod/sumdb/note``. A key's name is the origin of the checkpoints that it signs: one key, one store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_ID_BYTES = 4
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_MOST_NOTE_BYTES = 256 * 1024
_DASH = "\N{EM DASH} "
_PRIVATE = "PRIVATE+KEY+"
_LARGEST_TREE = 2**63


class NoteError(ConfigError):
    """A note or a key is not one, or a signature does not fit; the message says which, and what was expected."""


# ---------------------------------------------------------------------------------------------------------------- keys


def _checked_name(name: str) -> str:
    if not name or "+" in name or any(char.isspace() or ord(char) < 0x20 for char in name):
        raise NoteError(
            f"{name!r} is no name for a key: expected a text without spaces and +, such as audit.example.org/monitor"
        )
    return name


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_ID_BYTES]


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise NoteError(f"{what}: expected base64") from None


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key by its name; ``key_id`` tells it from others of the same name."""

    name: str
    key_id: bytes
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a public key's line. Raises NoteError."""
        if vkey.startswith(_PRIVATE):
            raise NoteError("expected a public key (NAME+KEYID+BASE64), found a private one: it is handed to nobody")
        name, _, rest = vkey.strip().partition("+")
        key_id, _, data = rest.partition("+")
        raw = _decoded(data, "public key")
        if raw[:1] != _ED25519 or len(raw) != 1 + _KEY_BYTES:
            raise NoteError("public key: expected an Ed25519 key of 32 bytes (algorithm 1)")
        public = raw[1:]
        if key_id != _key_id(_checked_name(name), public).hex():
            raise NoteError(f"public key {name}: its key id {key_id!r} is not that of the key; copy the line whole")
        return cls(name, bytes.fromhex(key_id), public)

    @property
    def vkey(self) -> str:
        """The key as a line of text."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def fits(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` is this key's of ``text``."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow to import, seldom needed

        try:
            self._key().verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True

    def _key(self) -> Ed25519PublicKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - as above

        return Ed25519PublicKey.from_public_bytes(self.public)


class Signer:
    """A private key. Neither its text nor any message of it holds the key itself."""

    def __init__(self, name: str, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - as above

        self._key: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes_raw()
        self.verifier = Verifier(_checked_name(name), _key_id(name, public), public)

    def __repr__(self) -> str:
        return f"Signer({self.verifier.name!r})"

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key. Raises NoteError if ``name`` is none."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - as above

        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a private key's line. Raises NoteError."""
        line = text.strip()
        name, _, rest = line.removeprefix(_PRIVATE).partition("+")
        key_id, _, data = rest.partition("+")
        if not line.startswith(_PRIVATE):
            raise NoteError("expected a private key (one line, PRIVATE+KEY+…), as `monitor audit keygen` writes it")
        raw = _decoded(data, "private key")
        if raw[:1] != _ED25519 or len(raw) != 1 + _KEY_BYTES:
            raise NoteError("private key: expected an Ed25519 key of 32 bytes (algorithm 1)")
        signer = cls(name, raw[1:])
        if signer.verifier.key_id.hex() != key_id:
            raise NoteError(f"private key {name}: its key id is not that of the key; copy the line whole")
        return signer

    @property
    def skey(self) -> str:
        """The key as a line of text, to be written where only its holder reads."""
        seed = base64.b64encode(_ED25519 + self._key.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.verifier.name}+{self.verifier.key_id.hex()}+{seed}"

    def sign(self, text: str) -> str:
        """The signed note of ``text``, which must end in a line feed."""
        signature = self._key.sign(text.encode())
        signed = base64.b64encode(self.verifier.key_id + signature).decode()
        return f"{text}\n{_DASH}{self.verifier.name} {signed}\n"


def read_signer(path: Path) -> Signer:
    """The private key in a file. Raises NoteError."""
    return Signer.parse(_read(path, "private key"))


def read_verifier(given: str, path: Path) -> Verifier:
    """A public key: the line itself, or in the file at ``path``; a private key's file gives its public half.

    Raises NoteError.
    """
    if given.count("+") >= 2 and not path.exists():
        return Verifier.parse(given)
    text = _read(path, "public key")
    return Signer.parse(text).verifier if text.startswith(_PRIVATE) else Verifier.parse(text)


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise NoteError(
            f"{path}: the {what} cannot be read ({exc.strerror}); `monitor audit keygen` makes one"
        ) from exc
    except UnicodeDecodeError:
        raise NoteError(f"{path}: expected a {what} in one line of text") from None


# --------------------------------------------------------------------------------------------------------------- notes


def opened(note: str, verifier: Verifier) -> str:
    """The text of a note, once its signature by ``verifier`` has been found to fit. Raises NoteError otherwise."""
    text, signatures = _split(note)
    found = False
    for name, key_id, signature in signatures:
        if (name, key_id) != (verifier.name, verifier.key_id):
            continue
        if len(signature) != _SIGNATURE_BYTES or not verifier.fits(text, signature):
            raise NoteError(f"the signature of {name} does not fit: the note was changed, or not signed by this key")
        found = True
    if not found:
        raise NoteError(f"the note is not signed by {verifier.name} ({verifier.key_id.hex()})")
    return text


def _split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The text of a note and its signatures (name, key id, signature); none of them is verified. Raises NoteError."""
    if len(note) > _MOST_NOTE_BYTES or any(ord(char) < 0x20 and char != "\n" for char in note):
        raise NoteError("this is no signed note: it is too long, or holds control characters")
    text, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or lines.pop() or not lines or not all(line.startswith(_DASH) for line in lines):
        raise NoteError("this is no signed note: expected a text, an empty line, and signatures that begin with —")
    signatures = []
    for line in lines:
        name, _, data = line.removeprefix(_DASH).partition(" ")
        raw = _decoded(data, f"signature of {name}")
        signatures.append((_checked_name(name), raw[:_ID_BYTES], raw[_ID_BYTES:]))
    return text + "\n", signatures


# --------------------------------------------------------------------------------------------------------- checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: whose log it is, how many leaves it had, and their root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a checkpoint; lines after the third are extensions, and left alone. Raises NoteError."""
        lines = text.split("\n")
        if len(lines) < 4 or not all(lines[:-1]) or lines[-1]:
            raise NoteError("this is no checkpoint: expected an origin, a size and a root in three lines")
        origin, size, root = lines[:3]
        if not (size.isascii() and size.isdecimal()) or str(int(size[:20])) != size or int(size) >= _LARGEST_TREE:
            raise NoteError(f"checkpoint of {origin}: expected a number of leaves, found {size[:40]!r}")
        raw = _decoded(root, f"root of the checkpoint of {origin}")
        if len(raw) != _KEY_BYTES:
            raise NoteError(f"checkpoint of {origin}: expected a root of 32 bytes, found {len(raw)}")
        return cls(origin, int(size), raw)


def parse_checkpoint(note: str, verifier: Verifier | None) -> Checkpoint:
    """The checkpoint in a note. Without a ``verifier`` nothing says who made it. Raises NoteError."""
    text = opened(note, verifier) if verifier else _split(note)[0]
    checkpoint = Checkpoint.parse(text)
    if verifier and checkpoint.origin != verifier.name:
        raise NoteError(f"the checkpoint is of {checkpoint.origin}, and the key is that of {verifier.name}")
    return checkpoint
