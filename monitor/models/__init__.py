"""Models behind one shape: the embedded llama.cpp server, OpenAI-compatible servers, LangChain's providers, a test double.

``resolve.resolve`` turns a name into a ``base.ModelClient``. Importing this package loads none of the providers' SDKs.
"""
