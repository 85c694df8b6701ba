"""A recipe that hands a shipped tool to a role."""


async def sums(ctx, task: str) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001 - runs where only the wheel is
    """Let the role calculate."""
    return str((await ctx.call("./sums.md", task=task, tools=["calculate"])).text)
