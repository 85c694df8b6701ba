"""A process that is killed in the middle of a call leaves the call's beginning in the store."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.adapters.wire_desk import Desk

PROGRAM = """
import sys
import monitor
from openai import OpenAI

client = monitor.wrap(OpenAI(base_url=sys.argv[1], api_key="k"), db=sys.argv[2], policy=[])
client.chat.completions.create(model="m", messages=[{"role": "user", "content": "[[stub:delay=60]] Wait for me"}])
"""


def test_the_beginning_of_a_call_is_stored_before_the_call_is_made(desk: Desk) -> None:
    arguments = [sys.executable, "-c", PROGRAM, desk.stub.base_url, desk.db]
    with subprocess.Popen(arguments, cwd=Path(__file__).parents[3]) as process:
        while not desk.stub.requests and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None
        process.kill()
    (subcall,) = desk.subcalls()
    assert (subcall.state, desk.run().state) == ("started", "started")
    assert subcall.call.messages[-1].content == "[[stub:delay=60]] Wait for me"
