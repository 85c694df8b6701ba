"""``__all__`` of the public packages is sorted, complete and true."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import pytest

import monitor

PACKAGES = [
    "monitor",
    "monitor.catalog",
    "monitor.checks",
    "monitor.cli",
    "monitor.policy",
    "monitor.settings",
    "monitor.store",
]


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_every_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__all__ == sorted(package.__all__)
    for public in package.__all__:
        assert getattr(package, public, None) is not None, public


@pytest.mark.parametrize("name", [name for name in PACKAGES if name != "monitor"])
def test_all_is_complete(name: str) -> None:
    """Whatever a package defines or re-exports under a public name is in ``__all__``; submodules and imports are not."""
    package = importlib.import_module(name)
    is_package = Path(package.__file__ or "").name == "__init__.py"
    defined = {
        key
        for key, value in vars(package).items()
        if not key.startswith("_")
        and not isinstance(value, types.ModuleType)
        and str(getattr(value, "__module__", "")).startswith("monitor" if is_package else name)
    }
    assert defined <= set(package.__all__)


def test_the_lazy_names_of_the_package_are_all_listed() -> None:
    assert set(monitor._HOMES) | {"__version__"} == set(monitor.__all__)
    assert dir(monitor) == sorted(monitor.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(monitor, "nonsense")  # noqa: B009 - mypy knows that the name is not there
