"""NAME=VALUE options."""

from __future__ import annotations

import pytest

from monitor.cli.options import parse_budget, parse_options
from monitor.errors import ConfigError


def test_limits() -> None:
    assert parse_budget(["calls=10", " cost = 0.5", "seconds=none"]) == {
        "calls": "10",
        "cost": "0.5",
        "seconds": "none",
    }
    assert parse_budget(None) is None


@pytest.mark.parametrize(
    ("pair", "message"), [("calls", "expected NAME=VALUE"), ("=1", "expected"), ("callz=1", "did you mean 'calls'")]
)
def test_wrong_limits(pair: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_budget([pair])


def test_recipe_options_are_json_where_they_can_be() -> None:
    pairs = ["depth=3", "loud=true", "names=[1, 2]", "role=./mine.md", "empty=", "equation=a=b"]
    values = {"depth": 3, "loud": True, "names": [1, 2], "role": "./mine.md", "empty": "", "equation": "a=b"}
    assert parse_options(pairs) == values
