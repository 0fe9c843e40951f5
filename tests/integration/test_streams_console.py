"""An application over streams in the console: two workers count words, their store is asked, one is killed by a key,
its tasks move, and the counts are right."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from console.gateway.opening import open_gateway
from console.options import ConsoleOptions
from engine.testing.cluster import KafkaCluster
from tests.console.live import LiveConsole, live
from tests.integration.conftest import KCONSOLE, ROOT
from tests.integration.test_streams_workers import GROUP_CONFIGS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


@asynccontextmanager
async def word_count(bootstrap: str, state_dir: Path) -> AsyncIterator[None]:
    """``kconsole streams run`` of the example in two workers."""
    settings = (f"state.dir={state_dir}", "commit.interval.ms=100", "processing.guarantee=exactly_once_v2")
    process = await asyncio.create_subprocess_exec(
        *(str(KCONSOLE), "streams", "run", "examples.streams.word_count:topology", "--workers", "2"),
        *("--bootstrap-servers", bootstrap, *(part for each in settings for part in ("--set", each))),
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)


def write(producer: Producer, value: str, times: int) -> None:
    """Clicks, spread over the partitions."""
    for number in range(times):
        producer.produce("clicks", value, str(number))
    producer.flush(10)


def running_pids(text: str) -> list[int]:
    """Of the workers that the screen shows as running."""
    return [int(each) for each in re.findall(r"[0-9a-f]{8} +(\d+) +● running", text)]


def counted(text: str) -> dict[str, int]:
    """Words and how often, as the store's screen has them."""
    return {word: int(number) for word, number in re.findall(r"^│[▌ ] *([a-z]+) +(\d+) ", text, re.MULTILINE)}


async def ask_store(console: LiveConsole, expected: dict[str, int]) -> str:
    await console.press("s")
    await console.until("the store is listed", lambda text: "timestamped-key-value" in text)
    await console.press("enter")
    return await console.until("the words are counted", lambda text: text if counted(text) == expected else None)


async def test_words_are_counted_a_worker_is_killed_and_its_tasks_move(tmp_path: Path) -> None:
    with KafkaCluster(1, configs=GROUP_CONFIGS, topics={"clicks": 2, "word-counts": 2}) as cluster:
        bootstrap = cluster.bootstrap_servers
        producer = Producer({"bootstrap.servers": bootstrap})
        gateway = open_gateway(ConsoleOptions(bootstrap_servers=bootstrap))
        async with word_count(bootstrap, tmp_path), live(gateway, 100, 30) as console:
            await console.until("the cluster is seen", lambda text: "live ●" in text)
            write(producer, '{"page": "/home"}', 40)
            await console.command("streams")
            listed = re.compile(r"word-count +● Stable +4/4 +2")
            await console.until("the application is listed", listed.search)
            await console.press("enter")
            pids = await console.until(
                "both run", lambda text: found if len(found := running_pids(text)) == 2 else None
            )
            await ask_store(console, {"home": 40, "page": 40})
            await console.press("s")
            await console.type("home")
            await console.press("enter")
            await console.until("the key alone", lambda text: counted(text) == {"home": 40} and "› home" in text)
            await console.press("escape", "escape", "t")
            await console.until(
                "rates are told", lambda text: re.search(r"◉ KSTREAM-AGGREGATE-\d+ +[\d.]+/s +store counts", text)
            )
            await console.press("escape", "tab", "ctrl+k")
            question = await console.until("it asks", lambda text: re.search(r"Kill worker \w+, process (\d+)\?", text))
            killed = int(question[1])
            assert killed in pids
            await console.press("y")
            write(producer, '{"page": "/cart"}', 40)
            await console.until("its tasks move", lambda text: "⇠" in text)
            again = await console.until(
                "another one was started",
                lambda text: found if len(found := running_pids(text)) == 2 and killed not in found else None,
            )
            assert set(pids) & set(again) == set(pids) - {killed}
            await ask_store(console, {"home": 40, "page": 80, "cart": 40})
            assert [each.command for each in console.app.acts.log] == [f"kill -9 {killed}"]
