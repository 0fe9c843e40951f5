"""Commands ask the workers of an application in turn: the dead are passed over, who must wait is asked again."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from console.streams_asking import TOKEN, NoAnswer, Refused, ask_any, ask_worker
from console.streams_query_command import _kind, _times, _written


class Worker(BaseHTTPRequestHandler):
    """Answers what the test says, the last of it for ever."""

    answers: list[tuple[int, Any]]
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        status, document = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def worker() -> Iterator[str]:
    Worker.answers, Worker.asked = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Worker) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as unheard:
        return f"127.0.0.1:{unheard.getsockname()[1]}"


def test_the_dead_are_passed_over_and_who_restores_is_asked_again(worker: str) -> None:
    Worker.answers = [(503, {"message": "partition 1 is being restored"}), (200, {"found": True})]
    assert ask_any([nobody(), worker], ("v1", "stores", "a/b", "key"), {"key": "ä"}, 5) == {"found": True}
    assert [path for path, _ in Worker.asked] == ["/v1/stores/a%2Fb/key?key=%C3%A4"] * 2


def test_when_nobody_can_answer_each_says_why(worker: str, capsys: pytest.CaptureFixture[str]) -> None:
    Worker.answers = [(503, {"message": "partition 1 is being restored"})]
    with pytest.raises(SystemExit) as ended:
        ask_any([nobody(), worker], ("v1", "status"), {}, 0.05)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "does not answer: Connection refused" in said
    assert "partition 1 is being restored" in said


def test_a_wrong_question_is_not_asked_twice(worker: str, capsys: pytest.CaptureFixture[str]) -> None:
    Worker.answers = [(400, {"error_code": "INVALID_QUERY", "message": "limit: 'x' is no whole number"})]
    with pytest.raises(SystemExit) as ended:
        ask_any([worker, worker], ("v1",), {}, 5)
    assert (ended.value.code, len(Worker.asked)) == (2, 1)
    assert "limit: 'x' is no whole number" in capsys.readouterr().err


def test_the_token_is_sent_and_its_absence_named(worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Worker.answers = [(401, {"message": "the token is missing or wrong"})]
    with pytest.raises(Refused, match=f"give the token as {TOKEN}"):
        ask_worker(worker, ("v1",), {}, 1)
    monkeypatch.setenv(TOKEN, "s3cret")
    Worker.answers = [(200, {})]
    assert ask_worker(worker, ("v1",), {}, 1) == {}
    assert [each for _, each in Worker.asked] == [None, "Bearer s3cret"]


@pytest.mark.parametrize("answer", [(200, b"<html>"), (500, {}), (302, {})])
def test_what_is_no_worker_does_not_count(worker: str, answer: tuple[int, Any]) -> None:
    Worker.answers = [answer]
    with pytest.raises(NoAnswer):
        ask_worker(worker, ("v1",), {}, 1)


def test_windows_are_between_times_of_which_each_may_be_left_out() -> None:
    assert _times(None) == {}
    assert _times("5..") == {"from_ms": "5"}
    assert _times("..7") == {"to_ms": "7"}
    hour_ago, now = (int(each) for each in _times("-1h..-0s").values())
    assert now - hour_ago == 3_600_000
    assert [_kind(kind, None, None) for kind in ("timestamped-window", "session", "key-value")] == [
        "window",
        "session",
        "range",
    ]


def test_a_key_of_the_shell_that_is_no_text_goes_as_its_bytes() -> None:
    assert _written("key", "日本") == ("key", "日本")
    assert _written("key", os.fsdecode(b"\xff\0")) == ("key_base64", "/wA=")
