"""The console in a browser (Chromium without a window) over the cluster that ``kconsole web`` starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.supervisor.broker_process import child_environment, python_command
from tests.integration.browser import Browser
from tests.integration.conftest import KCONSOLE

pytestmark = pytest.mark.integration


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def answer(address: str, **headers: str) -> tuple[int, str]:
    """Status and text that a client without a browser's cookies gets."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def running(data_dir: Path, *words: str) -> list[int]:
    """Processes of the cluster of a directory whose command lines have all words."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(data_dir) in line and all(word in line for word in words):
            found.append(process.info["pid"])
    return found


def test_a_failover_is_seen_in_a_browser_and_tabs_share_one_cluster(tmp_path: Path, browser: Browser) -> None:
    data_dir = tmp_path / "data"
    web = subprocess.Popen(
        [str(KCONSOLE), "web", "--port", "0", "--fresh", "--data-dir", str(data_dir)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert web.stdout is not None
        address = web.stdout.readline().split()[-1]
        bare, token = address.split("?token=")
        for refused in (bare, f"{bare}?token={token[:-1]}x", f"{bare}ws", f"{bare}static/js/textual.js"):
            assert answer(refused)[0] == 403, refused
        assert "open the address that kconsole web printed" in answer(bare)[1]
        assert answer(address, Host="kafka.example:80")[0] == 403
        assert answer(address, Origin="http://kafka.example")[0] == 403

        browser.open(address)
        browser.wait_for("three brokers", lambda text: text.count("● running") == 3)
        assert browser.address == bare, "the token does not stay in the address"
        browser.type(":records orders\n")
        browser.wait_for("a tail", lambda text: text.count('{"order":') >= 15)
        browser.press_with_control("k")
        browser.wait_for("a killed broker", lambda text: "2/3 up" in text)
        browser.type("5")
        browser.wait_for(
            "the stopwatch", lambda text: re.search(r"first fetch .* [\d.]+ m?s", text) and "acked, 0 lost" in text
        )
        keep = Path(os.environ.get("KCONSOLE_SCREENSHOTS", tmp_path))
        (keep / "web.png").write_bytes(browser.screenshot())
        assert (keep / "web.png").stat().st_size > 20_000
        # textual's own script says how often it pings, and when the machine was busy.
        chatter = ("ping=", "task queue exceeded allotted deadline")
        complaints = [each for each in browser.log() if not any(word in each for word in chatter)]
        assert complaints == [], "the page complains of nothing"

        # A second tab has the same cluster and another console; closing it stops nothing.
        browser.new_tab()
        browser.open(bare)
        browser.wait_for("the same cluster", lambda text: "2/3 up" in text and "✗ killed" in text)
        assert len(running(data_dir, "--no-start")) == 2 and len(running(data_dir, "console.cli up")) == 1
        browser.close_tab()
        browser.type("s")
        browser.wait_for("three brokers again", lambda text: "3/3 up" in text)
        deadline = time.monotonic() + 10
        while len(running(data_dir, "--no-start")) > 1:
            assert time.monotonic() < deadline, "the console of the closed tab has left"
            time.sleep(0.05)
    finally:
        web.send_signal(signal.SIGTERM)
        code = web.wait(30)
    assert code == 0
    assert running(data_dir) == [], "the server stops the cluster that it started, and leaves no console"
    assert "This console has ended" in browser.page_text()


def test_a_console_whose_server_is_gone_leaves() -> None:
    """A server that is killed stops nobody: the end of its pipes must do."""
    console = subprocess.Popen(
        python_command("console.cli", "--bootstrap-servers", "127.0.0.1:1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**child_environment(), "TEXTUAL_DRIVER": "console.web.tab_driver:TabDriver"},
    )
    try:
        assert console.stdin is not None and console.stdout is not None
        assert console.stdout.readline() == b"__GANGLION__\n", "it is at work"
        console.stdin.close()
        console.stdout.close()
        assert console.wait(20) == 0
    finally:
        console.kill()
