"""Keys, signed notes and checkpoints in C2SP's forms."""

from __future__ import annotations

import base64
import stat
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.notes import (
    Checkpoint,
    NoteError,
    Signer,
    Verifier,
    opened,
    parse_checkpoint,
    read_signer,
    read_verifier,
)

if TYPE_CHECKING:
    from pathlib import Path

# The example of Go's golang.org/x/mod/sumdb/note.
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    f"{TEXT}\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ROOT = bytes(range(32))


def test_keys_and_signatures_are_those_of_other_implementations() -> None:
    signer = Signer.parse(SKEY)
    assert signer.verifier.vkey == VKEY
    assert signer.skey == SKEY
    assert signer.sign(TEXT) == NOTE
    assert opened(NOTE, Verifier.parse(VKEY)) == TEXT


def test_a_private_key_is_in_no_repr_and_is_no_public_key() -> None:
    signer = Signer.parse(SKEY)
    assert "AYEKFALV" not in repr(signer)
    with pytest.raises(NoteError, match="found a private one") as raised:
        Verifier.parse(SKEY)
    assert "AYEKFALV" not in str(raised.value)


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (NOTE.replace("cryptography", "Cryptography"), "does not fit"),
        (NOTE.replace("x08go", "x08gp"), "not signed by PeterNeumann"),
        (NOTE.replace("— PeterNeumann", "— Somebody"), "not signed by PeterNeumann"),
        (NOTE.replace("\n\n", "\n"), "no signed note"),
        (NOTE.removesuffix("\n"), "no signed note"),
        (NOTE.replace("BwJnAM=", "BwJnA"), "expected base64"),
        (NOTE.replace("you", "\x00", 1), "control characters"),
        ("", "no signed note"),
    ],
)
def test_what_is_not_signed_by_the_key_is_refused(note: str, said: str) -> None:
    with pytest.raises(NoteError, match=said):
        opened(note, Verifier.parse(VKEY))


def test_unknown_signatures_are_ignored_and_a_second_key_may_sign_too() -> None:
    other = Signer.generate("witness.example/w1")
    line = other.sign(TEXT).removeprefix(f"{TEXT}\n")
    assert opened(NOTE + line, Verifier.parse(VKEY)) == TEXT
    assert opened(NOTE + line, other.verifier) == TEXT


@pytest.mark.parametrize("line", ["", "x", "a+b", "a b+00000000+AA==", VKEY[:-4], VKEY.replace("c74f20a3", "c74f20a4")])
def test_what_is_no_public_key_is_refused(line: str) -> None:
    with pytest.raises(NoteError):
        Verifier.parse(line)


@pytest.mark.parametrize("name", ["", "with space", "plus+plus", "line\nfeed", "wide\u2003space"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(NoteError, match="no name for a key"):
        Signer.generate(name)


def test_a_checkpoint_is_three_lines() -> None:
    text = f"example.com/log\n7\n{base64.b64encode(ROOT).decode()}\n"
    assert Checkpoint("example.com/log", 7, ROOT).text == text
    assert Checkpoint.parse(text) == Checkpoint("example.com/log", 7, ROOT)
    assert Checkpoint.parse(f"{text}an extension\n").size == 7


@pytest.mark.parametrize("size", ["07", "-1", "+7", "7 ", "", "٧", "9" * 30, "1e3"])
def test_a_size_that_is_no_plain_number_is_refused(size: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(f"example.com/log\n{size}\n{base64.b64encode(ROOT).decode()}\n")


@pytest.mark.parametrize("root", ["", "AA==", "?", base64.b64encode(ROOT + b"x").decode()])
def test_a_root_that_is_no_hash_is_refused(root: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(f"example.com/log\n7\n{root}\n")


def test_a_checkpoint_of_another_log_is_refused() -> None:
    signer = Signer.generate("example.com/log")
    note = signer.sign(Checkpoint("example.com/other", 7, ROOT).text)
    with pytest.raises(NoteError, match=r"is of example\.com/other, and the key is that of example\.com/log"):
        parse_checkpoint(note, signer.verifier)
    assert parse_checkpoint(note, None).size == 7


def test_keys_are_read_from_files_and_a_private_one_gives_its_public_half(tmp_path: Path) -> None:
    private, public = tmp_path / "key", tmp_path / "key.pub"
    private.write_text(f"{SKEY}\n")
    public.write_text(f"{VKEY}\n")
    assert read_signer(private).verifier.vkey == VKEY
    for given in (private, public):
        assert read_verifier(str(given), given).vkey == VKEY
    assert read_verifier(VKEY, tmp_path / "absent").vkey == VKEY
    with pytest.raises(NoteError, match="cannot be read"):
        read_signer(tmp_path / "absent")
    private.write_bytes(b"\xff")
    with pytest.raises(NoteError, match="one line of text"):
        read_signer(private)
    assert stat.S_ISREG(public.stat().st_mode)
