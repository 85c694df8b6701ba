"""What an isolated tool may read: the folders that were bound, without what is hidden in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import catalog
from monitor.orchestrate.isolation import folders

if TYPE_CHECKING:
    from collections.abc import Sequence


def readable(granted: Sequence[tuple[str, str]], path: Path) -> bool:
    return any(right == "read" and path.is_relative_to(place) for place, right in granted)


def grants(path: Path, *hidden: Path) -> Sequence[tuple[str, str]]:
    """What is granted for ``path`` beyond Python."""
    basis = set(folders.grants_of([], frozenset(hidden)))
    return [grant for grant in folders.grants_of([path], frozenset(hidden)) if grant not in basis]


def test_a_folder_with_nothing_hidden_is_granted_as_a_whole(tmp_path: Path) -> None:
    assert grants(tmp_path, Path("/elsewhere")) == [(str(tmp_path), "read")]
    assert grants(tmp_path / "one.txt") == [(str(tmp_path / "one.txt"), "read")]


def test_what_is_hidden_is_left_out_and_so_is_what_comes_later(tmp_path: Path) -> None:
    tmp_path = tmp_path / "project"
    (tmp_path / "notes").mkdir(parents=True)
    (tmp_path / "state" / "deep").mkdir(parents=True)
    for name in ("a.txt", "notes/b.txt", "monitor.db", "state/c.txt", "state/deep/d.txt"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "monitor.db")
    hidden = (tmp_path / "monitor.db", tmp_path / "monitor.db-wal", tmp_path / "state" / "deep")
    granted = grants(tmp_path, *hidden)
    assert sorted(granted) == sorted(
        [
            (str(tmp_path), "list"),
            (str(tmp_path / "a.txt"), "read"),
            (str(tmp_path / "notes"), "read"),
            (str(tmp_path / "state"), "list"),
            (str(tmp_path / "state" / "c.txt"), "read"),
        ]
    )


NAMES = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(NAMES, max_size=8), hidden=st.lists(NAMES, max_size=4))
def test_nothing_hidden_is_ever_readable_and_everything_else_is(
    tmp_path: Path, files: list[str], hidden: list[str]
) -> None:
    root = Path(os.path.realpath(tmp_path)) / str(abs(hash((*files, "|", *hidden))))
    root.mkdir(exist_ok=True)
    made = [root / name / "x" for name in files]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    secrets = [root / name for name in hidden]
    granted = grants(root, *secrets)
    for path in made:
        assert readable(granted, path) != any(path.is_relative_to(secret) for secret in secrets)
    assert not [secret for secret in secrets if readable(granted, secret)]


def test_policies_inside_an_installation_are_not_granted_with_it(tmp_path: Path) -> None:
    """As in a wheel, where they lie among the packages that a tool may import."""
    hidden = Path(folders.__file__).parent
    granted = folders.grants_of([], frozenset({hidden}))
    assert not readable(granted, hidden / "parent.py")
    assert readable(granted, hidden.parent / "tools.py")
    assert not readable(folders.grants_of([], frozenset()), catalog.shipped("policy") / "core.yaml")


def test_a_folder_too_large_to_be_granted_file_by_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MAX_GRANTS", 40)
    for number in range(60):
        (tmp_path / str(number)).touch()
    assert grants(tmp_path)
    with pytest.raises(folders.TooManyGrantsError, match="bind a folder without those"):
        grants(tmp_path, tmp_path / "monitor.db")
