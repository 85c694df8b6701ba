"""The shipped tool ``read_file``: text under one folder and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import catalog

read_file = catalog.load_tool("read_file").function


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with text, and things outside of it that links and paths may lead to."""
    root = tmp_path / "root"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.txt").write_text("one\ntwo\nthree\n")
    (root / "sub" / "b.txt").write_text("b")
    (root / "bytes.bin").write_bytes(b"\xff\xfe")
    (root / "nul.txt").write_bytes(b"a\0b")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "secret.txt").write_text("secret")
    (root / "inside").symlink_to("sub/b.txt")
    (root / "out").symlink_to(tmp_path / "secret.txt")
    (root / "outdir").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    return root


def test_text_and_lines_of_it(folder: Path) -> None:
    assert read_file("a.txt", folder=folder) == "one\ntwo\nthree\n"
    assert read_file("a.txt", 2, 2, folder=folder) == "two\n"
    assert read_file("./sub/../a.txt", 3, folder=folder) == "three\n"
    assert read_file("inside", folder=folder) == "b"
    assert read_file(str(folder / "sub" / "b.txt"), folder=folder) == "b"


def test_folders_are_listed(folder: Path) -> None:
    assert read_file(".", folder=folder).splitlines() == [
        *("a.txt", "bytes.bin", "inside", "loop", "nul.txt", "out", "outdir", "pipe", "sub/"),
    ]
    assert read_file("sub", folder=folder) == "b.txt\nempty/"
    assert read_file("sub/empty", folder=folder) == "(an empty folder)"


def test_a_long_list_is_cut_and_odd_names_are_printable(folder: Path) -> None:
    for number in range(600):
        (folder / "sub" / "empty" / f"{number:03}").touch()
    Path(os.fsdecode(bytes(folder) + b"/sub/line\nbreak\xff\xe2\x80\xae")).touch()
    assert read_file("sub/empty", folder=folder).splitlines()[-1] == "… and 100 more"
    assert read_file("sub", folder=folder).splitlines()[-1] == r"line\nbreak\xff\u202e"


OUTSIDE = [
    "../secret.txt",
    "out",
    "outdir/secret.txt",
    "/etc/passwd",
    "sub/../../secret.txt",
    "../root2/secret.txt",
    "..",
    "../nowhere",
    "/",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_is_read_or_even_said_to_exist(folder: Path, path: str) -> None:
    with pytest.raises(PermissionError) as caught:
        read_file(path, folder=folder)
    assert str(caught.value) == f'{path} is outside of the folder: give a path inside it; "." lists what is there'


@pytest.mark.parametrize(
    ("path", "lines", "says"),
    [
        ("sub/nowhere/at/all", (), 'there is no such file; reading "sub" lists what is there'),
        ("a.txt/x", (), 'there is no such file; reading "." lists what is there'),
        ("bytes.bin", (), "is not UTF-8 text"),
        ("nul.txt", (), "is not text: it has NUL bytes"),
        ("pipe", (), "is neither a file nor a folder"),
        ("loop", (), "cannot be followed|no such file|cannot be read"),
        ("a.txt", (5,), "has 3 lines; line 5 was asked for"),
        ("a.txt", (0,), "lines from 1 on"),
        ("a.txt", (3, 2), "first_line not after last_line"),
        ("a\0.txt", (), "expected a path"),
        ("x" * 5000, (), "cannot be followed|cannot be read|no such file"),
    ],
)
def test_errors_say_what_to_do(folder: Path, path: str, lines: tuple[int, ...], says: str) -> None:
    with pytest.raises((ValueError, OSError), match=says):
        read_file(path, *lines, folder=folder)


def test_a_long_file_is_read_in_parts(folder: Path) -> None:
    (folder / "long.txt").write_text("0123456789\n" * 10_000)
    with pytest.raises(ValueError, match="has 10000 lines and these are 110000 bytes; at most 64000 are read at once"):
        read_file("long.txt", folder=folder)
    assert len(read_file("long.txt", 9_000, folder=folder)) == 11 * 1001
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(ValueError, match="files of at most 64000000 are read"):
        read_file("huge.txt", folder=folder)


PARTS = st.sampled_from(["..", ".", "sub", "a.txt", "b.txt", "out", "outdir", "secret.txt", "inside", "root", "", "~"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, max_size=6), start=st.sampled_from(["", "/", "//"]), tail=st.text(max_size=5))
def test_no_path_leads_outside(folder: Path, parts: list[str], start: str, tail: str) -> None:
    try:
        said = read_file(start + "/".join(parts) + tail, folder=folder)
    except (OSError, ValueError) as exc:
        said = str(exc).partition(":")[2]
    assert "secret" not in said.replace("secret.txt", "")
    assert "root2" not in said
