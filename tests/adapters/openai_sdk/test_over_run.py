"""Rules over a run on foreign programs: the calls of one observed run, and streams in the window mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import monitor
from monitor.errors import Blocked, ConfigError
from tests.adapters.openai_sdk.test_chat import plain, user
from tests.orchestrate.over_run import PACK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.adapters.wire_desk import Desk


@pytest.fixture
def pack(tmp_path: Path) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(PACK.replace("ACTION", "withhold").replace("output|", "user|"), "utf-8")
    return str(path)


def test_the_calls_of_one_run_are_seen_together(desk: Desk, pack: str) -> None:
    client = monitor.wrap(plain(desk))
    with monitor.observed_run("Two", db=desk.db, policy=[pack]):
        client.chat.completions.create(model="m", messages=user("SECRET"))
        with pytest.raises(Blocked, match="secret_then_network"):
            client.chat.completions.create(model="m", messages=user("NETWORK"))
    with monitor.observed_run("Another", db=desk.db, policy=[pack]):
        client.chat.completions.create(model="m", messages=user("NETWORK"))
    assert {run.start.task: run.state for run in desk.all_runs()}["Another"] == "ok"


def test_no_stream_is_released_early_under_a_rule_over_the_run_that_acts(desk: Desk, pack: str) -> None:
    with pytest.raises(ConfigError, match=r"secret_then_network: not windowable\. It goes by several subcalls"):
        monitor.wrap(plain(desk), db=desk.db, policy=[pack], stream="window")
