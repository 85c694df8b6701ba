"""An office of one clerk, for runs that are broken off anywhere: two calls beside each other with a tool, and one after."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Literal

from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import ToolCall

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.models.base import ModelReply, ModelRequest, Progress

RECIPE = '''
import asyncio

RELEASED = []  # every answer that the recipe was given

async def look(where: str) -> str:
    """Look somewhere."""
    await asyncio.sleep(0)
    return f"a note in {where}"

async def call(ctx, task, **more):
    answer = await ctx.call("clerk", task=task, **more)
    RELEASED.append(answer.text)
    return answer.text

async def mapped(ctx, task):
    parts = await ctx.map("clerk", [{"task": f"{task} {name}"} for name in ("a", "b")], tools=[look])
    RELEASED.extend(part.text for part in parts)
    return await call(ctx, " and ".join(part.text for part in parts))

async def gathered(ctx, task):
    parts = await asyncio.gather(*(call(ctx, f"{task} {name}", tools=[look]) for name in ("a", "b")))
    return await call(ctx, " and ".join(parts))
'''
ROLE = "---\nname: clerk\ndescription: a clerk\ntools: [look]\n---\nAnswer.\n"
ANSWER = "THE JOB A, A NOTE IN B. AND THE JOB B, A NOTE IN B.."


class Clerk(ScriptedModel):
    """Says its task in capitals, after it has looked where there is a tool; ``said`` are the answers that it gave whole."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.said: Counter[tuple[str, int]] = Counter()

    @staticmethod
    def answer(request: ModelRequest) -> Reply:
        told = [message for message in request.messages if message.role != "system"]
        if request.tools and told[-1].role != "tool":
            return Reply(tool_calls=(ToolCall(id="1", name="look", arguments=json.dumps({"where": "b"})),))
        return Reply(text=", ".join(message.content for message in told if message.content).upper() + ".")

    async def complete(self, request: ModelRequest, progress: Progress) -> ModelReply:
        reply = await super().complete(request, progress)
        self.said[reply.text, len(reply.tool_calls)] += 1
        return reply


def write_office(folder: Path, recipe: Literal["mapped", "gathered"]) -> str:
    """Write the recipes and their role; returns the reference of one: by ``ctx.map``, or by ``asyncio.gather``."""
    (folder / "clerk.md").write_text(ROLE)
    (folder / "office.py").write_text(RECIPE)
    return f"{folder}/office.py:{recipe}"
