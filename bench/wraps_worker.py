"""The contenders of ``wraps.py``: one process each, that makes calls when it is told to and says how long they took."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import monitor
from bench.monitor_overhead import PAPER, make, raw_store, read_commits
from monitor.records import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "stub"


class Worker:
    """One process: it makes as many calls as it is told, one way or another, and says how long each took."""

    def __init__(self, family: str, kind: str, folder: Path, base_url: str) -> None:
        self.family, self.kind, self.folder, self.base_url = family, kind, folder, base_url
        self.loop = asyncio.new_event_loop()
        self.number = 0
        self.is_async = family in {"chat-async", "responses-async", "agents-sdk"}
        self.outside = contextvars.copy_context()
        self.ways: dict[str, Callable[[str], Any]] = {}
        self.around: dict[str, tuple[Any, list[list[Any]]]] = {}

    def options(self, way: str) -> dict[str, Any]:
        """How ours is observed."""
        limits = Limits(calls=None, seconds=None, depth=None)
        return {
            "db": str(self.folder / f"{self.family}-{way}.db"),
            "policy": [str(self.folder / "twelve.yaml")],
            "budget": limits,
        }

    def prepare(self) -> None:
        """Make the clients."""
        if self.kind == "family":
            for name, way in (("bare", ""), ("own", "own"), ("inside", "inside")):
                self.ways[name] = self.made(way)
            monitor.observed_run("bench", **self.options("inside")).__enter__()
        else:
            getattr(self, f"set_up_{self.kind}")()
            self.ways[self.kind] = self.ways.get(self.kind) or self.made("")

    def made(self, way: str) -> Callable[[str], Any]:
        """The call of the family: bare, or as ours (``own``, ``inside``)."""
        made: Callable[[str], Any] = getattr(self, "made_" + self.family.replace("-async", "").replace("-", "_"))(way)
        return made

    def client(self, way: str) -> Any:
        """The SDK's client, bare or wrapped."""
        import openai

        kind = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        client = kind(base_url=self.base_url, api_key="k", max_retries=0)
        return monitor.wrap(client, **self.options(way)) if way else client

    def made_chat(self, way: str) -> Callable[[str], Any]:
        """Chat Completions."""
        client = self.client(way)
        return lambda prompt: client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=800
        )

    def made_responses(self, way: str) -> Callable[[str], Any]:
        """Responses."""
        client = self.client(way)
        return lambda prompt: client.responses.create(model=MODEL, input=prompt, max_output_tokens=800)

    def chat_model(self) -> Any:
        """LangChain's chat model."""
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(base_url=self.base_url, api_key="k", model=MODEL, max_tokens=800, max_retries=0)

    def made_middleware(self, way: str) -> Callable[[str], Any]:
        """An agent of LangChain's that answers at once."""
        from langchain.agents import create_agent

        middleware = [monitor.MonitorMiddleware(**self.options(way))] if way else []
        agent: Any = create_agent(self.chat_model(), [], middleware=middleware)
        return lambda prompt: agent.invoke({"messages": prompt})

    def made_callback(self, way: str) -> Callable[[str], Any]:
        """A bare chat model of LangChain's."""
        model = self.chat_model()
        config: Any = {"callbacks": [monitor.MonitorCallbackHandler(**self.options(way))]} if way else {}
        return lambda prompt: model.invoke(prompt, config)

    def made_agents_sdk(self, way: str) -> Callable[[str], Any]:
        """An agent of OpenAI's that answers at once."""
        agents: Any = importlib.import_module("agents")
        import openai

        from monitor.adapters.agents_sdk import run

        if not self.ways:
            agents.set_trace_processors([])  # its own would send the traces to OpenAI
        client = openai.AsyncOpenAI(base_url=self.base_url, api_key="k", max_retries=0)
        model = agents.OpenAIChatCompletionsModel(model=MODEL, openai_client=client)
        agent = agents.Agent(name="clerk", model=model, model_settings=agents.ModelSettings(max_tokens=800))
        if not way:
            return lambda prompt: agents.Runner.run(agent, prompt)
        return lambda prompt: run(agent, prompt, **self.options(way))

    def set_up_langfuse(self) -> None:
        """Langfuse, with its drop-in for the SDK."""
        os.environ |= {
            "LANGFUSE_PUBLIC_KEY": "pk",
            "LANGFUSE_SECRET_KEY": "sk",
            "LANGFUSE_HOST": os.environ["BENCH_SINK"],
        }
        os.environ["LANGFUSE_BASE_URL"] = os.environ["BENCH_SINK"]
        dropped_in = importlib.import_module("langfuse.openai")

        client = dropped_in.OpenAI(base_url=self.base_url, api_key="k", max_retries=0)
        self.ways["langfuse"] = lambda prompt: client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=800
        )

    def set_up_opentelemetry(self) -> None:
        """The SDK's instrumentation, with content in the spans, batches as they are by default."""
        os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
        os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "span_only"
        exporting = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        instrumentation = importlib.import_module("opentelemetry.instrumentation.openai_v2")
        tracing = importlib.import_module("opentelemetry.sdk.trace")
        batches = importlib.import_module("opentelemetry.sdk.trace.export")

        provider = tracing.TracerProvider()
        exporter = exporting.OTLPSpanExporter(endpoint=f"{os.environ['BENCH_SINK']}/v1/traces")
        provider.add_span_processor(batches.BatchSpanProcessor(exporter))
        instrumentation.OpenAIInstrumentor().instrument(tracer_provider=provider)

    def set_up_mlflow(self) -> None:
        """MLflow's tracing, in SQLite."""
        mlflow: Any = importlib.import_module("mlflow")

        mlflow.set_tracking_uri(f"sqlite:///{self.folder}/mlflow.db")
        mlflow.set_experiment("bench")
        mlflow.openai.autolog()

    def prompt(self) -> str:
        """The next prompt; its number is found again in what is stored of it."""
        self.number += 1
        return f"{PAPER} {self.family}-{self.kind}-{self.number:06d}."

    def load_rows(self) -> None:
        """Take the rows that ours wrote while it was warmed, for ``raw``: call by call."""
        for way in ("inside", "own"):
            schema, commits = read_commits(self.folder / f"{self.family}-{way}.db", runs=way == "own")
            each = 5 if way == "own" else 3
            connection = raw_store(self.folder / f"{self.family}-raw-{way}.db", schema)
            grow(connection)
            calls = [commits[at : at + each] for at in range(0, len(commits), each)]
            assert len(calls[-1]) == each, "ours makes another number of commits than is said here"
            self.around[f"raw-{way}"] = connection, calls

    def calls(self, way: str, count: int) -> list[float]:
        """Make calls one after the other; milliseconds of each, or of the raw commits around it."""
        times = []
        connection, rows = self.around.get(way, (None, []))
        call = self.ways["bare" if connection else way]
        for _ in range(count):
            prompt = self.prompt()
            commits = rows.pop(0) if connection else []
            before = len(commits) - 2 if len(commits) == 3 else 2 if commits else 0
            around = sum(made(connection, commit) for commit in commits[:before])
            began = time.perf_counter()
            run = (lambda work, given: work(given)) if way == "inside" else self.outside.run
            if self.is_async:
                run(self.loop.run_until_complete, self.awaiting(call, prompt))
            else:
                run(call, prompt)
            took = time.perf_counter() - began
            around += sum(made(connection, commit) for commit in commits[before:])
            times.append(1000 * (around if commits else took))
        return times

    @staticmethod
    async def awaiting(call: Callable[[str], Any], prompt: str) -> Any:
        """The call, in a task that has the context of whoever waits."""
        return await call(prompt)

    def serve(self) -> None:
        """Do what the parent says, line by line, until it says no more."""
        self.prepare()
        print("ready", flush=True)
        for line in sys.stdin:
            what, count = line.split()
            if what == "rows":
                self.load_rows()
                print("[]", flush=True)
            elif what in {"die", "end"}:
                for way in self.ways:
                    self.calls(way, int(count))
                if what == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                return
            else:
                print(json.dumps(self.calls(what, int(count))), flush=True)


def made(connection: Any, commit: Any) -> float:
    """Make one commit; seconds that it took."""
    began = time.perf_counter()
    make(connection, commit)
    return time.perf_counter() - began


def grow(connection: Any) -> None:
    """Let the write-ahead log grow to the size at which SQLite goes back to its beginning, as ours has after some calls: a
    commit that makes a file longer takes more of the disk than one that does not.
    """
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("CREATE TABLE filler (body)")
    for _ in range(1500):
        connection.execute("INSERT INTO filler VALUES (randomblob(3000))")
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    connection.execute("PRAGMA synchronous=FULL")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    Worker(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]).serve()
