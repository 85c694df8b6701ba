"""A real server: what is sent is recorded, refused with what was wrong, and never lost."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import socket
import threading
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from monitor.records import Action, Outcome, ReasoningState, VerdictValue
from monitor.store import Store
from tests.adapters.ingest.conftest import DATA
from tests.adapters.ingest.test_formats import seen
from tests.adapters.ingest.test_otlp import FAMILY, TREE, export, shape, span
from tests.adapters.ingest.test_taking import PLANTED, pack
from tests.adapters.serve.conftest import JSON, PROTOBUF, Served, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.adapters.serve.conftest import Answer

SPANS = DATA / "otlp"


def protobuf(text: str, signal_: str = "trace") -> bytes:
    """OTLP/JSON as protobuf: ids in hex become bytes."""
    import base64
    from importlib import import_module

    def ids(value: Any) -> Any:
        if isinstance(value, list):
            return [ids(item) for item in value]
        if not isinstance(value, dict):
            return value
        names = {"traceId", "spanId", "parentSpanId"}
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode() if key in names else ids(item)
            for key, item in value.items()
        }

    service: Any = import_module(f"opentelemetry.proto.collector.{signal_}.v1.{signal_}_service_pb2")
    kind = service.ExportTraceServiceRequest if signal_ == "trace" else service.ExportLogsServiceRequest
    parse: Any = import_module("google.protobuf.json_format").ParseDict
    data: bytes = parse(ids(json.loads(text)), kind()).SerializeToString()
    return data


def partial_success(answer: Answer) -> Any:
    from importlib import import_module

    service: Any = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    return service.ExportTraceServiceResponse.FromString(answer.body).partial_success


def why(answer: Answer) -> str:
    """The message of a refusal in protobuf."""
    from importlib import import_module

    status: Any = import_module("google.rpc.status_pb2")
    return str(status.Status.FromString(answer.body).message)


def test_spans_in_every_encoding_are_one_tree(serve: Callable[..., Served]) -> None:
    server = serve("--settle", "60")
    ways = [(kind, coding) for kind in (JSON, PROTOBUF) for coding in ("", "gzip")]
    for number, (kind, coding) in enumerate(ways, 1):
        for one in (FAMILY[4], FAMILY[0], FAMILY[4], FAMILY[2], FAMILY[1], FAMILY[3]):
            text = export({**one, "traceId": f"{number:032x}"})
            answer = server.send(protobuf(text) if kind == PROTOBUF else text, kind=kind, coding=coding)
            assert (answer.status, answer.headers["content-type"]) == (200, kind)
            assert answer.body == (b"{}" if kind == JSON else b"")
    assert server.end() == 0
    assert server.log[-1] == {"format": "monitor.serve/1", "event": "ended", "waiting": 0, "unended": 0}
    runs = server.runs()
    assert len(runs) == len(ways)
    for run in runs:
        assert shape(server.subcalls(run.start.run_id)) == TREE
        assert (run.start.recipe, run.state, run.start.source) == ("ingested:otlp", "ok", "")


CONVENTIONS = {
    "current": "openai-v2-2.4b0.jsonl",
    "legacy, in the log": "openai-v2-2.1b0.jsonl",
    "legacy, flat": "traceloop-openai-0.40.14.jsonl",
    "openinference": "openinference-langchain-0.1.80.jsonl",
}


def test_each_convention_says_the_same(serve: Callable[..., Served]) -> None:
    """One server, one table: spans at /v1/traces, and what stands in the log at /v1/logs, before or after them."""
    server = serve("--settle", "60")
    for name in CONVENTIONS.values():
        for line in (SPANS / name).read_text("utf-8").splitlines():
            is_log = "resourceLogs" in json.loads(line)
            body = protobuf(line, "logs" if is_log else "trace")
            assert server.send(body, kind=PROTOBUF, path="/v1/logs" if is_log else "/v1/traces").status == 200
    assert server.end() == 0
    runs = server.runs()
    assert len(runs) == len(CONVENTIONS)
    for run in runs:
        first, last = (one for one in server.subcalls(run.start.run_id) if one.call.kind == "model")
        assert [message.content for message in first.call.messages] == ["You add.", "What is 2 + 3?"]
        assert [json.loads(call.arguments) for call in seen(first).tool_calls] == [{"a": 2, "b": 3}]
        assert (seen(last).output, seen(last).reasoning.state) == ("The sum is five.", ReasoningState.ABSENT)
        assert run.end is not None
        assert (run.end.answer, run.start.task) == ("The sum is five.", "What is 2 + 3?")


def test_what_was_not_there_is_not_invented(serve: Callable[..., Served]) -> None:
    server = serve("--policy", "core")
    assert server.send((SPANS / "openai-v2-2.4b0-without-content.jsonl").read_text("utf-8")).status == 200
    server.end()
    for one in server.subcalls():
        assert (one.call.messages, seen(one).output, seen(one).reasoning.state) == ((), "", ReasoningState.ABSENT)
        assert one.judgement is not None
        assert one.judgement.verdict.value is VerdictValue.UNMEASURED


@pytest.mark.parametrize("surface", ["reasoning", "output", "tool.arguments", "tool.result"])
def test_a_planted_violation_is_caught_and_marked_as_too_late(
    serve: Callable[..., Served], tmp_path: Path, surface: str
) -> None:
    def said(where: str) -> str:
        return PLANTED if where == surface else "Nothing."

    parts = [
        {"type": "reasoning", "content": said("reasoning")},
        {"type": "text", "content": said("output")},
        {"type": "tool_call", "id": "1", "name": "note", "arguments": {"text": said("tool.arguments")}},
    ]
    model = span(2, 1, gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": parts}]))
    tool = {
        "gen_ai__operation__name": "execute_tool",
        "gen_ai__tool__name": "note",
        "gen_ai__tool__call__arguments": json.dumps({"text": "Nothing."}),
        "gen_ai__tool__call__result": said("tool.result"),
    }
    server = serve("--policy", pack(tmp_path, "withhold", surface))
    assert server.send(export(FAMILY[0], model, span(3, 1, **tool))).status == 200
    recorded = server.read("recorded")
    assert (recorded["verdicts"]["block"], recorded["too_late"]) == (1, 1)
    (caught,) = (
        one for one in server.subcalls() if one.judgement and one.judgement.verdict.value is VerdictValue.BLOCK
    )
    assert caught.judgement is not None
    assert caught.call.kind == ("tool" if surface == "tool.result" else "model")
    assert caught.judgement.action is Action.FLAG
    assert caught.judgement.verdict.note == "too late to withhold: it was over before it was checked"
    assert caught.judgement.outcome is Outcome.OK


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that refuses, for the tests that need no other."""
    folder = tmp_path_factory.mktemp("one")
    server = Served(str(folder / "monitor.db"), folder, "--settle", "600")
    yield server
    assert server.end() == 0


def test_a_bad_payload_is_a_400_that_says_what(one: Served) -> None:
    server = one
    cases: list[tuple[Any, str, str, str]] = [
        ("{", JSON, "", "expected JSON"),
        (b"\xff{}", JSON, "", "expected UTF-8, found byte 0xff at 0"),
        ("[1]", JSON, "", "expected an object with `resourceSpans`, found list"),
        ('{"resource_spans": []}', JSON, "", "expected `resourceSpans`, found 'resource_spans'"),
        ('{"resourceSpans": 5}', JSON, "", "resourceSpans: expected a list, found int"),
        ('{"resourceSpans": [{"scopeSpans": [5]}]}', JSON, "", "resourceSpans[0].scopeSpans[0]: expected an object"),
        ("[" * 100_000, JSON, "", "expected JSON (nested too deeply to read)"),
        (
            export({**span(1), "spanId": "x"}),
            JSON,
            "",
            "resourceSpans[0].scopeSpans[0].spans[0]: spanId: expected 16 hex",
        ),
        (b"\xff\xff", PROTOBUF, "", "expected ExportTraceServiceRequest in protobuf"),
        (b"no gzip", JSON, "raw gzip", "expected a body in gzip, found what is none"),
        (
            gzip.compress(export(span(1)).encode(), mtime=0)[:-9],
            JSON,
            "raw gzip",
            "expected a whole body in gzip, found one that is",
        ),
    ]
    for body, kind, coding, expected in cases:
        headers = {"Content-Encoding": "gzip"} if coding else {}
        answer = server.send(body, kind=kind, **headers)
        assert (answer.status, answer.headers["content-type"]) == (400, kind)
        found = answer.json["message"] if kind == JSON else why(answer)
        assert expected in found
    assert server.runs() == []


def test_what_is_broken_among_good_spans_is_rejected_and_named(serve: Callable[..., Served]) -> None:
    server = serve()
    text = export(span(1), {**span(2), "spanId": "00"}, span(3, gen_ai__output__messages='[{"content": 5}]'), span(4))
    said = server.send(text).json["partialSuccess"]
    assert said["rejectedSpans"] == "2"
    assert "spans[1]: spanId: expected 16 hex digits" in said["errorMessage"]
    with_bytes = json.loads(export(span(5), {**span(6), "spanId": "00"}))
    answer = server.send(protobuf(json.dumps(with_bytes)), kind=PROTOBUF)
    assert (partial_success(answer).rejected_spans, "spanId" in partial_success(answer).error_message) == (1, True)
    server.end()
    assert sorted(shape(server.subcalls())) == [1, 4, 5]


def test_other_kinds_of_content_are_a_415(one: Served) -> None:
    server = one
    for kind in ("text/plain", "application/xml", ""):
        answer = server.send("x", kind=kind)
        assert (answer.status, "expected the content type" in answer.json["message"]) == (415, True)
    coded = server.send("x", **{"Content-Encoding": "br"})
    assert (coded.status, coded.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert server.send(export(span(1)), kind="application/json; charset=utf-8").status == 200
    compressed = server.send(zlib.compress(export(span(2)).encode()), **{"Content-Encoding": "deflate"})
    assert compressed.status == 200
    assert server.send(export(span(3)), path="/v1/metrics").status == 404


def rss(server: Served) -> int:
    """Peak bytes of memory of a server's process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text("utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def test_what_is_too_large_is_a_413_and_takes_no_memory(serve: Callable[..., Served]) -> None:
    server = serve()
    assert server.send(export(span(1)), coding="gzip").status == 200
    before = rss(server)
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([packed.compress(b" " * 2**20) for _ in range(2048)]) + packed.flush()  # 2 GiB of nothing
    assert len(bomb) < 3_000_000
    answer = server.send(bomb, **{"Content-Encoding": "gzip"})
    assert (answer.status, "decompressed body is larger" in answer.json["message"]) == (413, True)
    assert rss(server) - before < 200_000_000
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    with closing(connection):
        connection.putrequest("POST", "/v1/traces")
        connection.putheader("Content-Type", JSON)
        connection.putheader("Content-Length", str(10**10))
        connection.endheaders()
        assert connection.getresponse().status == 413
    many = server.send('{"resourceSpans": [' + "{}," * 2_500_000 + "{}]}")
    assert (many.status, "objects" in many.json["message"]) == (413, True)
    spans = server.send('{"resourceSpans": [{"scopeSpans": [{"spans": [' + "{}," * 20_000 + "{}]}]}]}")
    assert (spans.status, "more than 20,000" in spans.json["message"]) == (413, True)
    assert server.end() == 0


def test_a_token_is_wanted_where_others_can_reach_it(serve: Callable[..., Served], tmp_path: Path) -> None:
    told = refused("--host", "0.0.0.0", folder=tmp_path)
    assert (told.returncode, "so a token is needed: set MONITOR_SERVE_TOKEN" in told.stderr) == (2, True)
    server = serve("--host", "0.0.0.0", MONITOR_SERVE_TOKEN="s3cret-é")
    port = urlsplit(server.url).port
    server.url = f"http://127.0.0.1:{port}"
    body = export(span(1))
    for given in (
        {},
        {"Authorization": "Bearer s3cret"},
        {"Authorization": "Basic s3cret-é"},
        {"Authorization": "Bearer "},
    ):
        answer = server.send(body, **given)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "s3cret" not in answer.body.decode()
    encoded = "s3cret-é".encode().decode("latin-1")
    assert server.send(body, Authorization=f"Bearer {encoded}").status == 200
    server.end()
    assert "s3cret" not in server.errors + json.dumps(server.log)


# ------------------------------------------------------------------------------------------------- overload, and kills


def test_too_many_requests_at_once_are_a_429(serve: Callable[..., Served]) -> None:
    server = serve()
    address = urlsplit(server.url)
    assert address.hostname
    assert address.port
    head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    open_ones = []
    try:
        for _ in range(64):
            open_ones.append(socket.create_connection((address.hostname, address.port)))
            open_ones[-1].sendall(head)
        answers = [server.send(export(span(1))) for _ in range(20)]
    finally:
        for one in open_ones:
            one.close()
    assert answers[-1].status == 429
    assert answers[-1].headers["retry-after"] == "1"
    assert server.end() == 0


@pytest.mark.sqlite("the lock of its file is held")
def test_a_slow_store_is_a_503_and_nothing_is_lost(
    serve: Callable[..., Served], new_database: Callable[[], str]
) -> None:
    """Another process holds the store's lock: what comes waits on the disk until that is full, and then is recorded."""
    from monitor.store.sqlite.connection import connect

    db = new_database()
    server = serve("--inbox-limit", "4", db=db, MONITOR_BUSY_SECONDS="1")
    lock = connect(Path(db), mode="rw", busy_seconds=5)
    lock.execute("BEGIN IMMEDIATE")
    said = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "x" * 300_000}]}])
    accepted, answer = 0, None
    for number in range(1, 100):
        answer = server.send(export({**span(number, gen_ai__output__messages=said), "traceId": f"{number:032x}"}))
        if answer.status != 200:
            break
        accepted += 1
    assert answer is not None
    assert (answer.status, int(answer.headers["retry-after"]) > 0, accepted) == (503, True, 13)
    assert server.read("problem")["why"].endswith("it waits in the inbox, and is tried again")
    memory = rss(server)
    for number in range(100, 140):
        one = {**span(number, gen_ai__output__messages=said), "traceId": f"{number:032x}"}
        assert server.send(export(one)).status == 503
    assert rss(server) - memory < 30_000_000
    lock.execute("ROLLBACK")
    lock.close()
    assert server.end() == 0
    assert len(server.runs()) == accepted


def test_every_span_that_was_acknowledged_outlives_a_kill(serve: Callable[..., Served], new_database: Any) -> None:
    """Killed again and again between acknowledgement and record: each is in the store once, and the trees are right."""
    db, acknowledged, number = new_database(), [], 0
    for turn in range(3):
        server = serve(db=db)
        ended = threading.Event()

        def send(server: Served = server, ended: threading.Event = ended) -> None:
            nonlocal number
            while not ended.wait(0.01):
                number += 1
                trace = f"{(number + 4) // 5:032x}"
                one = {**FAMILY[::-1][number % 5], "traceId": trace}
                try:
                    if server.send(export(one)).status == 200:
                        acknowledged.append((trace, one["spanId"]))
                except (OSError, http.client.HTTPException):  # killed before, or in the middle of, its answer
                    return

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(turn + 1):
            server.read("recorded")
        server.kill()
        ended.set()
        sender.join()
    server = serve(db=db)
    assert server.end() == 0
    recorded = [
        (run.start.run_id, one.call.span_id) for run in server.runs() for one in server.subcalls(run.start.run_id)
    ]
    assert len(recorded) == len(set(recorded))
    models = {f"{one:016x}" for one in TREE}
    expected = {pair for pair in acknowledged if pair[1] in models}
    assert len(expected) > 10
    assert expected <= set(recorded)
    whole = [run for run in server.runs() if len(server.subcalls(run.start.run_id)) == 3]
    assert whole
    for run in whole:
        kept = {(run.start.run_id, f"{one:016x}") for one in (1, 4)} <= set(acknowledged)
        assert not kept or shape(server.subcalls(run.start.run_id)) == TREE


def test_ending_twice_leaves_the_rest_for_the_next_start(serve: Callable[..., Served], new_database: Any) -> None:
    db = new_database()
    server = serve("--settle", "600", db=db)
    assert server.send(export(*FAMILY)).status == 200
    server.kill()
    again = serve(db=db)
    again.read("recorded")
    assert again.end(signal.SIGINT) == 0
    assert shape(again.subcalls()) == TREE


def test_two_servers_do_not_share_an_inbox(serve: Callable[..., Served], tmp_path: Path) -> None:
    serve("--inbox", str(tmp_path / "inbox"), db=str(tmp_path / "a.db"))
    told = refused("--inbox", "inbox", "--db", "b.db", folder=tmp_path)
    assert (told.returncode, "another `monitor serve` uses this inbox" in told.stderr) == (2, True)


def test_a_late_span_is_added_to_its_run(serve: Callable[..., Served]) -> None:
    server = serve()
    server.send(export(*FAMILY[:3]))
    server.read("recorded")
    assert shape(server.subcalls()) == {2: 0, 3: 2}
    server.send(export(FAMILY[4], FAMILY[3], FAMILY[1]))
    assert server.read("recorded")["subcalls"] == 1
    server.end()
    assert shape(server.subcalls()) == TREE
    (run,) = server.runs()
    assert run.end is not None
    assert (run.end.answer, len(run.resumes), run.state) == ("5", 1, "ok")


def test_a_span_waits_for_those_around_it_and_not_for_ever(serve: Callable[..., Served]) -> None:
    server = serve("--wait", "1")
    server.send(export(FAMILY[4]))
    server.read("recorded")
    (orphan,) = server.subcalls()
    assert orphan.call.parent_id == FAMILY[3]["spanId"]
    assert server.end() == 0


def test_it_says_whether_it_is_well(one: Served) -> None:
    connection = http.client.HTTPConnection(urlsplit(one.url).netloc)
    with closing(connection):
        connection.request("GET", "/healthz")
        assert json.loads(connection.getresponse().read()) == {"status": "ok"}


def test_nothing_of_a_recorded_text_stays_in_the_inbox(serve: Callable[..., Served], tmp_path: Path) -> None:
    server = serve("--inbox", str(tmp_path / "inbox"))
    secret = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "the-word-is-xyzzy"}]}])
    server.send(export(FAMILY[0], span(2, 1, gen_ai__output__messages=secret)))
    server.read("recorded")
    assert server.end() == 0
    for path in tmp_path.glob("inbox*"):
        assert b"xyzzy" not in path.read_bytes()
    with Store.open(server.db) as store:
        assert store.runs()
