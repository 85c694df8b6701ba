"""Every program on the page about LangChain runs, against a server on loopback that calls the tool it is offered."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from tests.docs.pages import ROOT, Block, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "wrapping" / "langchain.md"


class _Server(BaseHTTPRequestHandler):
    """OpenAI's chat completions: the first tool is called once, and then there is an answer."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message: dict[str, Any] = {"role": "assistant", "content": "That is all I know."}
        if body.get("tools") and body["messages"][-1]["role"] == "user":
            function = body["tools"][0]["function"]
            given = {name: 1 if kind["type"] == "integer" else "x" for name, kind in _properties(function).items()}
            call = {"name": function["name"], "arguments": json.dumps(given)}
            message = {"role": "assistant", "content": None}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        finish = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        told = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]}
        data = json.dumps({**told, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _properties(function: dict[str, Any]) -> dict[str, Any]:
    return dict(function["parameters"]["properties"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the page's pack, and OpenAI on loopback."""
    monkeypatch.chdir(tmp_path)
    (pack,) = blocks("yaml", "", on=PAGE)
    (tmp_path / "house.yaml").write_text(pack.text, encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback")
    yield tmp_path
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("block", blocks("python", on=PAGE), ids=str)
def test_the_programs_run(block: Block, folder: Path) -> None:
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
    assert (folder / "monitor.db").exists()


def test_what_is_said_to_be_withheld_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = next(block for block in blocks("python", on=PAGE) if "Blocked" in block.text)
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
    assert "caught by orders" in capsys.readouterr().out


def test_the_pack_passes_its_tests(folder: Path) -> None:
    results = policy.load([folder / "house.yaml"]).run_tests()
    assert [result.passed for result in results] == [True, True]
