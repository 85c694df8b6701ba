"""LangChain and LangGraph: agents, chains and bare chat models, taken through the one door.

    agent = create_agent(model, tools, middleware=[MonitorMiddleware(policy=["core"], budget=Limits(calls=20))])
    chain.invoke(question, {"callbacks": [MonitorCallbackHandler(policy=["core"])]})

``MonitorMiddleware`` stands between an agent and its model and tools: it can withhold, redact, bound and ask a person.
``MonitorCallbackHandler`` is told of calls that something else makes: it can refuse them and withhold what they return.

Needs the extra ``models``. Importing this package loads LangChain.
"""

try:
    import langchain.agents  # noqa: F401 - said here, once, for all modules of the package
    import langgraph.types  # noqa: F401 - as above
except ImportError as exc:
    from monitor.errors import MissingExtraError

    raise MissingExtraError("LangChain, whose agents these are,", "models") from exc

from monitor.adapters.langchain.callbacks import MonitorCallbackHandler
from monitor.adapters.langchain.middleware import MonitorMiddleware

__all__ = ["MonitorCallbackHandler", "MonitorMiddleware"]
