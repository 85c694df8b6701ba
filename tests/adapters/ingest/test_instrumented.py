r"""The instrumentors themselves, where they are installed: what they write now is read as the files in ``data/otlp`` are.

pip install opentelemetry-instrumentation-openai-v2 opentelemetry-util-genai \
        openinference-instrumentation-langchain opentelemetry-exporter-otlp-proto-common opentelemetry-sdk
"""

from __future__ import annotations

import base64
import importlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor.records import ReasoningState
from tests.adapters.ingest.test_formats import seen
from tests.stubs.openai_stub import OpenAIStub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.adapters.ingest.conftest import Ingesting

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Tracing:
    """OpenTelemetry's SDK with spans in memory."""

    def __init__(self) -> None:
        sdk = pytest.importorskip("opentelemetry.sdk.trace")
        exporting = importlib.import_module("opentelemetry.sdk.trace.export")
        memory = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")
        self._encoder: Any = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
        self._spans: Any = memory.InMemorySpanExporter()
        self.provider: Any = sdk.TracerProvider()
        self.provider.add_span_processor(exporting.SimpleSpanProcessor(self._spans))

    def write(self, path: Path) -> Path:
        """Write what was traced as OTLP/JSON, in which ids are hex and not what Protobuf makes of bytes."""
        to_dict: Any = importlib.import_module("google.protobuf.json_format").MessageToDict
        message = self._encoder.encode_spans(self._spans.get_finished_spans())
        path.write_text(json.dumps(_hex_ids(to_dict(message, use_integers_for_enums=True))), "utf-8")
        return path


def _hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    ids = {"traceId", "spanId", "parentSpanId"}
    return {key: base64.b64decode(item).hex() if key in ids else _hex_ids(item) for key, item in value.items()}


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as server:
        yield server


@pytest.mark.parametrize("capture", ["SPAN_ONLY", "NO_CONTENT"])
def test_the_instrumentor_of_openai(
    take: Ingesting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: OpenAIStub, capture: str
) -> None:
    instrumentation: Any = pytest.importorskip("opentelemetry.instrumentation.openai_v2")
    openai: Any = importlib.import_module("openai")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    monkeypatch.setenv(CONTENT, capture)
    tracing, instrumentor = Tracing(), instrumentation.OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=tracing.provider)
    try:
        client = openai.OpenAI(base_url=stub.base_url, api_key="x", max_retries=0)
        asked = [{"role": "user", "content": "Hello? [[stub:say=Well met.]]"}]
        client.chat.completions.create(model="m", messages=asked)
    finally:
        instrumentor.uninstrument()
    take(tracing.write(tmp_path / "x"))
    (subcall,) = take.subcalls()
    assert seen(subcall).output == ("Well met." if capture == "SPAN_ONLY" else "")
    assert subcall.call.checked is (capture == "SPAN_ONLY")
    assert seen(subcall).usage_reported
    assert seen(subcall).reasoning.state is ReasoningState.ABSENT


def test_the_instrumentor_of_langchain(take: Ingesting, tmp_path: Path, stub: OpenAIStub) -> None:
    instrumentation: Any = pytest.importorskip("openinference.instrumentation.langchain")
    models: Any = importlib.import_module("langchain_openai")
    tracing, instrumentor = Tracing(), instrumentation.LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=tracing.provider)
    try:
        models.ChatOpenAI(base_url=stub.base_url, api_key="x", model="m").invoke("Hello? [[stub:say=Well met.]]")
    finally:
        instrumentor.uninstrument()
    take(tracing.write(tmp_path / "x"))
    (subcall,) = take.subcalls()
    assert seen(subcall).output == "Well met."
    assert [message.content for message in subcall.call.messages] == ["Hello? [[stub:say=Well met.]]"]
