"""What an isolated tool may open: Python itself, the folders that were bound to it, and its own scratch folder.

What is hidden (the store, the policies, the settings) stays hidden inside a granted folder: such a folder is not granted as
a whole, but each of its other files and folders by itself. A file that comes into it during the call is not granted.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.orchestrate.isolation.landlock import Right

MAX_GRANTS = 20_000
_PACKAGE = Path(__file__).resolve().parents[2]
_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/urandom",
)


class TooManyGrantsError(Exception):
    """A folder that holds something hidden has too many files to grant them one by one."""


def grants_of(paths: Iterable[Path], hidden: frozenset[Path]) -> list[tuple[str, Right]]:
    """What ``landlock`` is to grant for reading Python and ``paths``. All paths are absolute and resolved.

    Raises:
        TooManyGrantsError: see there.
    """
    granted: list[tuple[str, Right]] = [(os.devnull, "null"), *_of_python(hidden)]
    for path in paths:
        for grant in _readable(path, hidden):
            granted.append(grant)
            if len(granted) > MAX_GRANTS:
                raise TooManyGrantsError(
                    f"{path} holds the store, policies or settings, and so many other files that they cannot be granted "
                    "one by one: bind a folder without those"
                )
    return granted


def imports() -> list[str]:
    """Where packages are installed: what a tool may import besides the standard library."""
    found = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    found += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return list(dict.fromkeys([*(path for path in found if Path(path).is_dir()), str(_PACKAGE.parent)]))


def is_hidden(path: Path, hidden: Iterable[Path]) -> bool:
    """Whether ``path`` is one of the hidden ones or lies below one."""
    return any(path.is_relative_to(secret) for secret in hidden)


@lru_cache(maxsize=32)
def _of_python(hidden: frozenset[Path]) -> tuple[tuple[str, Right], ...]:
    """Python, its packages and this one, read once for each process. What is installed later is not granted."""
    installed = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(sys.base_prefix, "lib"))]
    places = [*_SYSTEM, *installed, *imports()[:-1], str(_PACKAGE)]
    resolved = dict.fromkeys(Path(place).resolve() for place in places if Path(place).exists())
    return tuple(dict.fromkeys(grant for place in resolved for grant in _readable(place, hidden)))


def _readable(path: Path, hidden: Iterable[Path]) -> Iterator[tuple[str, Right]]:
    inside = [secret for secret in hidden if secret.is_relative_to(path)]
    if path in inside:
        return
    if not inside:
        yield str(path), "read"
        return
    yield str(path), "list"
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.is_symlink():
                yield from _readable(Path(entry.path), inside)
