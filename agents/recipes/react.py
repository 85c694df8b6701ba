"""A LangChain agent that thinks, uses a tool, and thinks again; every step is a bounded subcall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import monitor
from monitor.errors import RecipeError

if TYPE_CHECKING:
    from monitor import Answer, Context

ON_A_FOLDER = ("read_file", "search_corpus")


async def react(
    ctx: Context,
    task: str,
    *,
    role: str = "react",
    tools: list[str] | None = None,
    folder: str | None = None,
) -> Answer:
    """Let LangChain's ``create_agent`` drive a role through its tools to an answer.

    Args:
        ctx: The run's context.
        task: What is asked.
        role: Who works; a role that takes a ``task`` and lists the tools.
        tools: Names of tools; by default ``calculate``, and with a ``folder`` those that read it.
        folder: What ``read_file`` and ``search_corpus`` may read.
    """
    from monitor.orchestrate.langchain_agent import run_agent  # noqa: PLC0415 - loads LangChain, or says what to install

    names = tools if tools is not None else ["calculate", *(ON_A_FOLDER if folder else ())]
    if folder is None and (needy := [name for name in names if name in ON_A_FOLDER]):
        raise RecipeError(f"the tool {', '.join(needy)} needs a folder: give one (--set folder=PATH)")
    handed = [monitor.tool(name, folder=folder) if name in ON_A_FOLDER else name for name in names]
    return await run_agent(ctx.converse(role, task=task, tools=handed))
