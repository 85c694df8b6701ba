"""Inspect's logs, https://inspect.aisi.org.uk/eval-logs.html: a zip file with one JSON file for each sample (``.eval``), or
one JSON file with all of them (such as https://github.com/UKGovernmentBEIS/inspect_ai/tree/main/tests/log/test_eval_log).

The zip is read directly, one sample at a time, so that nothing of Inspect has to be installed. Each sample is a run; its
``model`` and ``tool`` events are the subcalls, in the tree of the tools that asked for them. Samples without events are
read from their messages.
"""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Any

from monitor.adapters.ingest.conversation import Conversation
from monitor.adapters.ingest.inspect_events import Events
from monitor.adapters.ingest.messages import kind_of, last_task, read_messages, tool_names
from monitor.adapters.ingest.traces import Broken, Problem, Trace, Tree, content_hash, digest, when
from monitor.adapters.ingest.zipped import UNREADABLE, read_entry
from monitor.canonical import escape_text, parse_json
from monitor.records import ErrorInfo, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ADAPTER = "inspect"
_HEADERS = ("header.json", "_journal/start.json")


def is_one(file: IO[bytes]) -> bool:
    """Whether an open zip file is a log. Raises Broken for one that cannot be read."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name in _HEADERS or name.startswith("samples/") for name in archive.namelist())
    except UNREADABLE as exc:
        raise Broken(f"expected a zip file, found one that cannot be read ({type(exc).__name__}: {exc})") from exc


def read(path: Path) -> Iterator[Trace | Problem]:
    """The samples of a log, in the order of their names; a broken one is named, and the rest goes on."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("samples/") and name.endswith(".json"))
        try:
            evaluation = _evaluation(archive)
        except (Broken, *UNREADABLE) as exc:
            yield Problem(str(path), "header.json", _said(exc))
            evaluation = {}
        if not names:
            yield Problem(str(path), "", "the log has no finished sample", is_refused=False)
        for name in names:
            try:
                yield _sample(_json(archive, name), evaluation, str(path), name)
            except (Broken, *UNREADABLE) as exc:
                yield Problem(str(path), name, _said(exc))


def is_document(value: Any) -> bool:
    """Whether a JSON value is a log with all its samples."""
    return isinstance(value, dict) and isinstance(value.get("eval"), dict) and {"version", "status"} <= value.keys()


def read_document(value: Mapping[str, Any], file: str) -> Iterator[Trace | Problem]:
    """The samples of a log that is one JSON file; a broken one is named, and the rest goes on. Raises Broken."""
    samples = value.get("samples")
    if not isinstance(samples, list | None):
        raise Broken(f"samples: expected a list, found {kind_of(samples)}")
    if not samples:
        yield Problem(file, "", "the log has no finished sample", is_refused=False)
    for index, sample in enumerate(samples or ()):
        try:
            yield _sample(sample, value["eval"], file, f"samples[{index}]")
        except Broken as exc:
            yield Problem(file, f"samples[{index}]", str(exc))


def _said(exc: Exception) -> str:
    return str(exc) if isinstance(exc, Broken) else f"cannot be read ({type(exc).__name__}: {exc})"


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    """One file of the zip. Raises Broken and what ``UNREADABLE`` lists."""
    try:
        return parse_json(read_entry(archive, name).decode())
    except UnicodeDecodeError:
        raise Broken("expected UTF-8") from None
    except ValueError as exc:
        if isinstance(exc, Broken):
            raise
        raise Broken(f"expected JSON ({exc})") from None


def _evaluation(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    """What the log says of the whole evaluation; a log that was not finished has it in its journal."""
    names = set(archive.namelist())
    for name in _HEADERS:
        if name in names:
            header = _json(archive, name)
            found = header.get("eval") if isinstance(header, dict) else None
            if isinstance(found, dict):
                return found
            raise Broken(f"{name}: expected an object with `eval`, found {kind_of(header)}")
    return {}


def _sample(sample: Any, evaluation: Mapping[str, Any], file: str, where: str) -> Trace:
    if not isinstance(sample, dict):
        raise Broken(f"expected a sample, found {kind_of(sample)}")
    content, uuid = content_hash(sample), sample.get("uuid")
    if isinstance(uuid, str) and uuid:
        tree = Tree(ADAPTER, digest(ADAPTER, uuid)[:32])
    else:
        tree = Tree.of_content(ADAPTER, content)
    said = read_messages(sample.get("messages") or [])
    task = _task(sample.get("input")) or last_task(said)
    model = evaluation.get("model")
    model = escape_text(model) if isinstance(model, str) else ""
    events = Events(tree, sample, task)
    talk = Conversation(tree, said, "assistant", model=model, task=task, tools=_tools_of(sample))
    if not events.is_empty:
        steps = events.steps
    elif any(one.message.role == "assistant" for one in said):
        steps = talk.steps
    else:
        raise Broken("neither an event of a model nor a message of an assistant, so there is nothing to check")
    error = _error(sample)
    return Trace(
        tree,
        file,
        where,
        content,
        steps,
        task=task,
        model=model,
        answer=talk.answer,
        outcome=Outcome.FAILED if error else Outcome.OK,
        error=error,
        at=when(sample.get("started_at")) or events.began,
    )


def _task(given: Any) -> str:
    if isinstance(given, str):
        return escape_text(given)
    return last_task(read_messages(given, "input")) if isinstance(given, list) else ""


def _tools_of(sample: Mapping[str, Any]) -> tuple[str, ...]:
    return tool_names(sample.get("tools"))


def _error(sample: Mapping[str, Any]) -> ErrorInfo | None:
    """What ended the sample before its end: an error, or one of Inspect's limits."""
    error, limit = sample.get("error"), sample.get("limit")
    if isinstance(error, dict):
        return ErrorInfo(kind="sample", message=escape_text(str(error.get("message") or "no message was recorded")))
    if isinstance(limit, dict):
        return ErrorInfo(kind="limit", message=escape_text(f"{limit.get('type')} limit {limit.get('limit')}"))
    return None
