"""OpenAI chat JSONL: one conversation in each line, ``{"messages": [...]}``, perhaps with ``tools`` and ``model``.

The form of OpenAI's fine-tuning and evaluation files, https://github.com/openai/openai-cookbook/tree/main/examples/data
(``toy_chat_fine_tuning.jsonl``, ``drone_training.jsonl``).
"""

from __future__ import annotations

from typing import Any

from monitor.adapters.ingest.conversation import Conversation
from monitor.adapters.ingest.messages import last_task, read_messages, tool_names
from monitor.adapters.ingest.traces import Broken, Trace, Tree, content_hash
from monitor.canonical import escape_text

ADAPTER = "openai-chat"
ROLE = "assistant"


def is_one(value: Any) -> bool:
    """Whether a JSON value is a conversation."""
    return isinstance(value, dict) and isinstance(value.get("messages"), list)


def read(value: Any, file: str, where: str) -> Trace:
    """Read one conversation. Raises Broken."""
    if not isinstance(value, dict) or "messages" not in value:
        raise Broken("expected an object with `messages`")
    said = read_messages(value["messages"])
    if not any(one.message.role == "assistant" for one in said):
        raise Broken("messages: no message of an assistant, so there is nothing to check")
    content = content_hash(value)
    tree = Tree.of_content(ADAPTER, content)
    task, model = last_task(said), value.get("model")
    talk = Conversation(
        tree,
        said,
        ROLE,
        model=escape_text(model) if isinstance(model, str) else "",
        task=task,
        tools=tool_names(value.get("tools") or value.get("functions")),
    )
    length = sum(len(one.message.content) + len(one.reasoning.text) for one in said)
    return Trace(tree, file, where, content, talk.steps, task=task, model=talk.model, answer=talk.answer, length=length)
