"""Real instrumentors and the real exporter, to a real ``monitor serve``; a stub of OpenAI is behind the agents."""

from __future__ import annotations

import importlib
import json
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from monitor.records import ReasoningState
from tests.adapters.ingest.test_formats import seen, tree
from tests.stubs.openai_stub import OpenAIStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.adapters.serve.conftest import Served

pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
OPT_IN, CONTENT = "OTEL_SEMCONV_STABILITY_OPT_IN", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def load(name: str) -> Any:
    return importlib.import_module(name)


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as server:
        yield server


@contextmanager
def traced(server: Served, instrumentor: Any, *, compression: str = "Gzip") -> Iterator[Any]:
    """Instrument, and export spans and events of the log over OTLP/HTTP in protobuf; what is left is sent at the end."""
    http = load("opentelemetry.exporter.otlp.proto.http")
    chosen = getattr(http.Compression, compression)
    spans = load("opentelemetry.exporter.otlp.proto.http.trace_exporter").OTLPSpanExporter(
        endpoint=f"{server.url}/v1/traces", compression=chosen
    )
    logs = load("opentelemetry.exporter.otlp.proto.http._log_exporter").OTLPLogExporter(
        endpoint=f"{server.url}/v1/logs", compression=chosen
    )
    tracer = load("opentelemetry.sdk.trace").TracerProvider()
    tracer.add_span_processor(load("opentelemetry.sdk.trace.export").BatchSpanProcessor(spans))
    logger = load("opentelemetry.sdk._logs").LoggerProvider()
    logger.add_log_record_processor(load("opentelemetry.sdk._logs.export").BatchLogRecordProcessor(logs))
    instrumentor.instrument(tracer_provider=tracer, logger_provider=logger)
    try:
        yield tracer
    finally:
        instrumentor.uninstrument()
        tracer.shutdown()
        logger.shutdown()


CAPTURES = ("SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT", "NO_CONTENT", "")


def test_the_instrumentor_of_openai(
    serve: Callable[..., Served], stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With messages in spans, in events of the log, in both, and nowhere; each is a trace of its own."""
    instrumentation: Any = pytest.importorskip("opentelemetry.instrumentation.openai_v2")
    openai = load("openai")
    monkeypatch.setenv(OPT_IN, "gen_ai_latest_experimental")
    server = serve("--policy", "core", "--settle", "60")
    for number, capture in enumerate(CAPTURES):
        monkeypatch.setenv(CONTENT, capture)
        with traced(server, instrumentation.OpenAIInstrumentor()), closing(stub_client(openai, stub)) as client:
            asked = [{"role": "user", "content": f"Hello {number}? [[stub:say=Well met.]]"}]
            client.chat.completions.create(model=f"m{number}", messages=asked)
    assert server.end() == 0
    runs = {run.start.model: run.start.run_id for run in server.runs()}
    assert len(runs) == len(CAPTURES)
    for number, capture in enumerate(CAPTURES):
        (subcall,) = server.subcalls(runs[f"m{number}"])
        assert subcall.judgement is not None
        assert seen(subcall).usage_reported
        assert seen(subcall).reasoning.state is ReasoningState.ABSENT
        if capture in {"NO_CONTENT", ""}:
            assert (seen(subcall).output, subcall.call.messages) == ("", ())
            assert subcall.judgement.verdict.value == "unmeasured"
        else:
            assert seen(subcall).output == "Well met."
            (message,) = subcall.call.messages
            assert message.content == f"Hello {number}? [[stub:say=Well met.]]"
            assert subcall.judgement.verdict.value == "pass"


def stub_client(openai: Any, stub: OpenAIStub) -> Any:
    return openai.OpenAI(base_url=stub.base_url, api_key="x", max_retries=0)


@pytest.mark.parametrize("hidden", [False, True])
def test_the_instrumentor_of_langchain(
    serve: Callable[..., Served], stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch, *, hidden: bool
) -> None:
    """An agent that calls a tool: OpenInference's spans are one tree, with and without content."""
    instrumentation: Any = pytest.importorskip("openinference.instrumentation.langchain")
    if hidden:
        for name in ("INPUTS", "OUTPUTS", "INPUT_MESSAGES", "OUTPUT_MESSAGES"):
            monkeypatch.setenv(f"OPENINFERENCE_HIDE_{name}", "true")
    from langchain.agents import create_agent
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    class Scripted(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self

    call = {"name": "add", "args": {"a": 2, "b": 3}, "id": "call_1", "type": "tool_call"}
    said = [AIMessage("", tool_calls=[call]), AIMessage("The sum is five.")]
    server = serve("--policy", "core", "--settle", "30")
    with traced(server, instrumentation.LangChainInstrumentor(), compression="NoCompression"):
        agent = create_agent(Scripted(messages=iter(said)), [add])
        agent.invoke({"messages": [{"role": "user", "content": "What is 2 + 3?"}]})
    assert server.end() == 0
    (run,) = server.runs()
    subcalls = server.subcalls()
    assert [(kind, above) for _, kind, above in tree(subcalls, run.start.span_id)] == [
        ("model", "run"),
        ("tool", "run"),
        ("model", "run"),
    ]
    first, tooled, last = subcalls
    if hidden:
        assert all(message.content in {"", "__REDACTED__"} for message in first.call.messages)
        assert "five" not in seen(last).output
    else:
        assert [message.content for message in first.call.messages] == ["What is 2 + 3?"]
        assert json.loads(tooled.call.task) == {"a": 2, "b": 3}
        assert (seen(tooled).output, seen(last).output) == ("5", "The sum is five.")


def test_langchain_around_openai_is_one_tree(serve: Callable[..., Served], stub: OpenAIStub) -> None:
    """OpenInference and a chat model that really calls over HTTP."""
    instrumentation: Any = pytest.importorskip("openinference.instrumentation.langchain")
    models = load("langchain_openai")
    server = serve("--settle", "30")
    with traced(server, instrumentation.LangChainInstrumentor()):
        models.ChatOpenAI(base_url=stub.base_url, api_key="x", model="m").invoke("Hello? [[stub:say=Well met.]]")
    assert server.end() == 0
    (subcall,) = server.subcalls()
    assert seen(subcall).output == "Well met."
