"""What it costs to run a tool in a process of its own: the same tool in this process, in a child, in a confined child.

    python bench/tool_isolation.py [CALLS]

They take turns inside one event loop, so that whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

from monitor.orchestrate.confinement import Toolbox
from monitor.orchestrate.roles import Role
from monitor.orchestrate.tools import tool
from monitor.records import ToolCall

ROLE = Role(name="clerk", description="measures", tools=("calculate", "search_corpus"))
DOCS = Path(__file__).parents[1] / "docs"
CALLS = (
    ("calculate", "calculate", '{"expression": "6 * 7"}'),
    ("search_corpus over docs/", tool("search_corpus", folder=DOCS), '{"query": "verdict"}'),
)


async def measure(times: int) -> None:
    """Print the median and the middle half of each, in milliseconds."""
    for name, choice, arguments in CALLS:
        ways = {
            isolation: Toolbox(isolation, frozenset()).tools([choice], ROLE, DOCS)[0]
            for isolation in ("none", "process", "landlock")
        }
        taken: dict[str, list[float]] = {isolation: [] for isolation in ways}
        for _ in range(times):
            for isolation, way in ways.items():
                began = time.perf_counter()
                await way.run(ToolCall(id="1", name=way.spec.name, arguments=arguments))
                taken[isolation].append((time.perf_counter() - began) * 1000)
        for isolation, one in taken.items():
            low, middle, high = statistics.quantiles(one, n=4)
            print(f"{name:<26} {isolation:<9} {middle:7.1f} ms ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
