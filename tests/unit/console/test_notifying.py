"""Webhooks against a real server on loopback, and the desktop's program."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from console import notifying
from console.alert_rules import AlertFile, Webhook
from console.notifying import Notifier

FIRED = {"event": "fired", "rule": "late", "said": "group g is 9 records behind", "alert_id": "late/g/1"}
RESOLVED = {**FIRED, "event": "resolved"}


class Receiver(ThreadingHTTPServer):
    """Answers with these codes, then with 200; ``hangs`` until it is let go for a code of 0."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.codes: list[int] = []
        self.received: list[tuple[dict[str, Any], str | None]] = []
        self.let_go = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((json.loads(body), self.headers["Authorization"]))
        code = self.server.codes.pop(0) if self.server.codes else 200
        if not code:
            self.server.let_go.wait(30)
            code = 200
        try:
            self.send_response(code)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "_FIRST_PAUSE_S", 0.01)


async def tell(webhook: Webhook, *documents: dict[str, Any]) -> list[str]:
    said: list[str] = []
    notifier = Notifier(AlertFile((), webhook=webhook), said.append)
    for each in documents:
        notifier.tell(each)
    await notifier.close(20)
    return said


async def test_what_fired_and_what_was_resolved_is_posted_in_order_with_its_headers(receiver: Receiver) -> None:
    assert await tell(Webhook(receiver.url, headers=(("Authorization", "Bearer t"),)), FIRED, RESOLVED) == []
    assert receiver.received == [(FIRED, "Bearer t"), (RESOLVED, "Bearer t")]


async def test_a_server_that_fails_is_asked_again_as_often_as_was_said(receiver: Receiver) -> None:
    receiver.codes = [500, 429, 200]
    assert await tell(Webhook(receiver.url, retries=2), FIRED) == []
    assert len(receiver.received) == 3
    receiver.codes = [503] * 9
    assert await tell(Webhook(receiver.url, retries=2), FIRED) == ["webhook: fired 'late' was not told: answered 503"]
    assert len(receiver.received) == 6


@pytest.mark.parametrize("code", [302, 404])
async def test_what_another_try_does_not_mend_is_not_tried_again(receiver: Receiver, code: int) -> None:
    receiver.codes = [code]
    said = await tell(Webhook(receiver.url), FIRED, RESOLVED)
    assert said == [f"webhook: fired 'late' was not told: answered {code}"]
    assert [each["event"] for each, _ in receiver.received] == ["fired", "resolved"], "and the next one goes out"


async def test_a_server_that_hangs_holds_nobody_up(receiver: Receiver) -> None:
    receiver.codes = [0]
    said = await tell(Webhook(receiver.url, timeout_s=0.1, retries=0), FIRED, RESOLVED)
    assert said == ["webhook: fired 'late' was not told: timed out"]
    assert receiver.received[-1][0] == RESOLVED


async def test_what_waits_is_bounded_and_what_is_dropped_is_said(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "_MOST_WAITING", 2)
    said = await tell(Webhook(receiver.url), *({**FIRED, "rule": f"r{number}"} for number in range(4)))
    assert said == [f"webhook: fired 'r{number}' was dropped, too many wait" for number in (0, 1)]
    assert [each["rule"] for each, _ in receiver.received] == ["r2", "r3"]


async def test_the_desktops_program_is_called_if_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "words"
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {written}.new && mv {written}.new {written}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    notifier = Notifier(AlertFile((), desktop=True), lambda said: None)
    notifier.tell(FIRED)
    async with asyncio.timeout(20):
        while not written.exists():  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(0.01)
    await notifier.close()
    assert written.read_text().splitlines()[-2:] == ["fired: late", "group g is 9 records behind"]
