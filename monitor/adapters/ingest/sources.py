"""Files with traces in them: found in folders, told apart by what is in them, and read one trace at a time.

Names play no part. A file of which the beginning is no JSON and no zip file is no trace, and is passed over; one that
begins as a trace does and cannot be read is refused. Of JSON in lines one line is in memory at a time, of a zip file one
sample; any other file is one trace, and is read whole up to ``MAX_RECORD``.
"""

from __future__ import annotations

import os
import stat
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from monitor.adapters.ingest import chat, inspect_log, magentic_one, otlp, swe_agent
from monitor.adapters.ingest.traces import MAX_RECORD, Broken, Problem, Trace
from monitor.canonical import parse_json
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_BOM = b"\xef\xbb\xbf"
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "Zstandard", b"BZh": "bzip2", b"\xfd7zX": "xz"}
_LOOK = 64  # lines in which a line of a known kind must be, for a file to be one of lines
_UNKNOWN = "no trace of a known format"
FORMATS = (chat.ADAPTER, inspect_log.ADAPTER, magentic_one.ADAPTER, otlp.ADAPTER, swe_agent.ADAPTER)


def files_of(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """The files under ``paths``, in the order of their names, and whether each was named itself.

    Folders that are not gone into, links and those that cannot be read, are there like files: ``read_file`` says why.

    Raises ConfigError: one of them is not there.
    """
    found: dict[Path, bool] = {}
    for path in paths:
        if path.is_dir():
            unread: list[OSError] = []
            for folder, folders, names in os.walk(path, onerror=unread.append):
                folders.sort()
                links = [name for name in folders if _is_link(Path(folder) / name)]  # not gone into: it is said
                for name in sorted([*names, *links]):
                    found.setdefault(Path(folder) / name, False)
            found.update(dict.fromkeys((Path(os.fsdecode(error.filename)) for error in unread), False))
        elif path.exists():
            found[path] = True
        else:
            raise ConfigError(f"{path}: there is no such file or folder")
    return list(found.items())


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:  # whoever reads it is told why
        return False


def read_file(
    path: Path, *, is_named: bool = True, told: Callable[[int], None] = lambda _: None
) -> Iterator[Trace | Problem]:
    """The traces of one file, and what of it could not be taken. ``told`` hears how many bytes are behind.

    A file that is no trace is refused if it was named, and passed over if it only lay in a folder.
    """
    name = str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            next(path.iterdir(), None)  # raises why it was not gone into
            yield Problem(name, "", "a link to a folder, which is not followed: name it to have it read")
            return
        if not stat.S_ISREG(mode):
            yield Problem(name, "", "not a regular file", is_refused=is_named)
            return
        with path.open("rb") as file:
            yield from _read(file, path, is_named, told)
    except OSError as exc:
        yield Problem(name, "", f"cannot be read ({exc.strerror or exc})")


def _read(file: IO[bytes], path: Path, is_named: bool, told: Callable[[int], None]) -> Iterator[Trace | Problem]:
    name, head = str(path), file.read(4)
    file.seek(0)
    if head in {_ZIP, _EMPTY_ZIP}:
        try:
            is_log = inspect_log.is_one(file)
        except Broken as exc:
            yield Problem(name, "", str(exc))
            return
        if is_log:
            yield from inspect_log.read(path)
        else:
            yield Problem(name, "", _UNKNOWN, is_refused=is_named)
        return
    if packed := next((packer for start, packer in _PACKED.items() if head.startswith(start)), None):
        yield Problem(name, "", f"compressed with {packed}, which is not unpacked here: unpack it first")
        return
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        yield Problem(name, "", "expected UTF-8, found UTF-16")
        return
    kind = _kind_of_lines(file)
    file.seek(0)
    if kind is _Lines.CHAT:
        yield from _conversations(file, name, told)
    elif kind is _Lines.OTLP:
        yield from otlp.read_lines(file, name, _values(file, name, told), _parsed)
    elif _begins_as_json(file):
        file.seek(0)
        yield from _document(file, name, is_named=is_named, may_be_lines=kind is _Lines.OTHER)
    else:
        yield Problem(name, "", _UNKNOWN, is_refused=is_named)


def _begins_as_json(file: IO[bytes]) -> bool:
    start = file.read(4096).removeprefix(_BOM).lstrip()
    return start[:1] in {b"{", b"["}


class _Lines(Enum):
    CHAT = "conversations"
    OTLP = "exports"
    OTHER = "other objects, or one object in all"
    NONE = "no line is JSON by itself"


def _kind_of_lines(file: IO[bytes]) -> _Lines:
    """What the first line is that is an object by itself. A broken line before it is only that."""
    for _ in range(_LOOK):
        line, is_whole = _next_line(file)
        if not line and is_whole:
            break
        text = line.removeprefix(_BOM).strip()
        if text.startswith(b"{"):
            try:
                value = parse_json(text.decode())
            except ValueError:
                continue
            if chat.is_one(value):
                return _Lines.CHAT
            return _Lines.OTLP if otlp.is_one(value) else _Lines.OTHER
    return _Lines.NONE


def _next_line(file: IO[bytes]) -> tuple[bytes, bool]:
    """The next line, and whether all of it is there. One that is longer than ``MAX_RECORD`` is read over, and is empty."""
    line = file.readline(MAX_RECORD + 1)
    if len(line) <= MAX_RECORD:
        return line, True
    while line and not line.endswith(b"\n"):
        line = file.readline(MAX_RECORD)
    return b"", False


def _conversations(file: IO[bytes], name: str, told: Callable[[int], None]) -> Iterator[Trace | Problem]:
    for number, _, found in _values(file, name, told):
        if isinstance(found, Problem):
            yield found
            continue
        try:
            yield chat.read(found, name, f"line {number}")
        except Broken as exc:
            yield Problem(name, f"line {number}", str(exc))


def _values(file: IO[bytes], name: str, told: Callable[[int], None]) -> Iterator[tuple[int, int, Any]]:
    """The JSON value of each line that is not blank, with its number and offset; a Problem where it is none."""
    number = 0
    while True:
        number += 1
        offset = file.tell()
        line, is_whole = _next_line(file)
        if not line and is_whole:
            return
        told(file.tell())
        if not is_whole:
            yield number, offset, Problem(name, f"line {number}", _TOO_LONG)
            continue
        text = line.removeprefix(_BOM).strip()
        del line
        if text:
            try:
                value = _parsed(text)
            except Broken as exc:
                value = Problem(name, f"line {number}", str(exc))
            del text
            yield number, offset, value
            del value


_TOO_LONG = f"longer than {MAX_RECORD // 2**20} MiB, which is the most that is read of one trace"


def _parsed(data: bytes) -> Any:
    """JSON as bytes. Raises Broken, which says where it ends to be JSON."""
    try:
        return parse_json(data.removeprefix(_BOM).decode())
    except UnicodeDecodeError as exc:
        raise Broken(f"expected UTF-8, found byte {data[exc.start]:#04x} at {exc.start}") from None
    except ValueError as exc:
        raise Broken(f"expected JSON ({exc})") from None


def _document(file: IO[bytes], name: str, *, is_named: bool, may_be_lines: bool) -> Iterator[Trace | Problem]:
    data = file.read(MAX_RECORD + 1)
    if len(data) > MAX_RECORD:
        yield Problem(name, "", _TOO_LONG)
        return
    try:
        value = _parsed(data)
    except Broken as exc:
        why = _UNKNOWN if may_be_lines else str(exc)  # a file of other objects, one in each line, is no broken trace
        yield Problem(name, "", why, is_refused=is_named or not may_be_lines)
        return
    del data
    try:
        if swe_agent.is_one(value):
            yield swe_agent.read(value, name)
        elif magentic_one.is_one(value):
            yield magentic_one.read(value, name)
        elif inspect_log.is_document(value):
            yield from inspect_log.read_document(value, name)
        elif otlp.is_one(value):
            yield from otlp.read_document(value, name)
        elif chat.is_one(value):
            yield chat.read(value, name, "")
        else:
            yield Problem(name, "", _UNKNOWN, is_refused=is_named)
    except Broken as exc:
        yield Problem(name, "", str(exc))
