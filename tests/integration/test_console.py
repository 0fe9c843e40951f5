"""The console in a real terminal (tmux) over real brokers, driven by keys alone."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from console.gateway.opening import open_gateway
from console.gateway.recorded import RecordedGateway
from console.options import ConsoleOptions
from console.recording.reader import Record
from console.viewmodel.text import clock_time
from tests.console.live import LiveConsole, live
from tests.integration.conftest import KCONSOLE, ROOT, Cluster, start_cluster, stop_cluster
from tests.integration.terminal import Terminal

pytestmark = pytest.mark.integration

STAGES = ("fenced", "new leaders committed", "seen by each survivor", "first acknowledged produce", "first fetch")


def partition_rows(text: str) -> dict[int, tuple[int, int, str]]:
    """Leader, epoch and ISR of each partition on the screen."""
    found = re.findall(r"^│▌? +(\d+) +★ (\d+) +(\d+) +[\d,]+ +([\d,]+) ", text, re.MULTILINE)
    return {int(number): (int(leader), int(epoch), isr) for number, leader, epoch, isr in found}


def replicas(text: str) -> list[tuple[str, ...]]:
    """Broker, log start, high watermark and log end of each replica on the screen."""
    return re.findall(r"broker (\d) +\D+([\d,]+) +([\d,]+) +([\d,]+)", text)


def processes_of(directory: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if str(directory) in words and "tmux" not in words and "sleep 300" not in words:
            found.append(words)
    return found


def keys_of_the_tour() -> list[str]:
    """What README tells to press, in its order: what stands in backticks in the numbered steps, but names of things."""
    readme = (ROOT / "README.md").read_text()
    tour = readme[readme.index("\n1. `2`") : readme.index("leaves and stops the cluster that it started")]
    return [word for word in re.findall(r"`([^`]+)`", tour) if word not in ("orders", "ctrl-q")]


def test_a_topic_is_tailed_its_leaders_broker_killed_and_started_again_by_keys_alone(
    tmp_path: Path, terminals: Callable[..., Terminal]
) -> None:
    """The tour of the README, key by key."""
    tour = iter(keys_of_the_tour())

    def press(key: str, *more: str) -> None:
        """The key that README tells next, and whatever it leaves to the reader."""
        assert next(tour) == key, "README's tour goes another way"
        terminal.press({"enter": "Enter", "esc": "Escape", "ctrl-k": "C-k"}.get(key, key), *more)

    data_dir = tmp_path / "data"
    terminal = terminals(str(KCONSOLE), "--fresh", "--data-dir", str(data_dir))
    terminal.wait_for("three brokers run", lambda text: text.count("● running") == 3 and "3/3 up" in text)
    press("2")
    terminal.wait_for("the sample's topics", lambda text: "orders" in text and "payments" in text)
    press("j", "j")
    terminal.wait_for("orders, selected", lambda text: re.search(r"▌ orders ", text))
    press("enter")
    terminal.wait_for("six partitions", lambda text: "partitions(orders)[6]" in text and len(partition_rows(text)) == 6)
    # A replica of each broker tells its own log, and they move.
    first = replicas(terminal.wait_for("replicas", lambda text: len(replicas(text)) == 3))
    terminal.wait_for("logs that move", lambda text: replicas(text) != first)
    press("l")
    terminal.wait_for("records of the workload", lambda text: text.count('{"order":') >= 5)
    press("f")
    terminal.wait_for("a tail that waits", lambda text: "paused" in text)
    press("s")
    terminal.wait_for("what to read from", lambda text: "esc cancel" in text)
    press("esc")
    terminal.wait_for("the tail again", lambda text: "esc cancel" not in text)
    press("/", *"key-1", "Enter")
    terminal.wait_for("records of one key", lambda text: "</key-1>" in text)
    press("v")
    terminal.wait_for("the value as text", lambda text: "· raw ─" in text)
    terminal.press("v")
    terminal.wait_for("the value in hex", lambda text: "· hex ─" in text)
    press("esc")
    terminal.wait_for("all records", lambda text: "</key-1>" not in text)
    press("esc")
    before = partition_rows(terminal.wait_for("partitions", lambda text: len(partition_rows(text)) == 6))
    victim, epoch, _ = before[0]

    press("ctrl-k")
    terminal.wait_for(
        "a new leader in a new epoch, and a smaller ISR",
        lambda text: (
            (rows := partition_rows(text)).get(0, (victim, epoch, ""))[0] != victim
            and rows[0][1] > epoch
            and str(victim) not in rows[0][2]
        ),
    )
    terminal.wait_for("two brokers", lambda text: "2/3 up" in text)
    terminal.wait_for(
        "what happened to the partition, and why",
        lambda text: re.search(rf"leader changed +leader {victim}→", text) and "isr shrunk" in text,
    )
    press("5")
    terminal.wait_for("the ledger", lambda text: "acked, 0 lost" in text and "duplicated 0   reordered 0" in text)
    for stage in STAGES:
        terminal.wait_for(stage, lambda text, stage=stage: re.search(rf"{stage} .* [\d.]+ m?s", text))

    press("s")
    terminal.wait_for("three brokers", lambda text: "3/3 up" in text)
    press("1")
    terminal.wait_for(
        "whole ISRs",
        lambda text: (
            "under-replicated 0 " in text
            and len(rows := re.findall(r"● running .* (\d+)/(\d+) ", text)) == 3
            and all(in_sync == all_ for in_sync, all_ in rows)
        ),
    )
    assert next(tour) == ":q" and next(tour, None) is None
    terminal.press(":", "q", "Enter")
    terminal.wait_for("the end", lambda text: "the exit code is 0" in text)
    assert processes_of(data_dir) == [], "the console stops the cluster that it started"


def test_a_second_console_attaches_and_leaves_without_stopping_anything(
    own_cluster: Cluster, terminals: Callable[..., Terminal]
) -> None:
    embedded = terminals(str(KCONSOLE), "--data-dir", str(own_cluster.data_dir))
    attached = terminals(
        str(KCONSOLE), "--bootstrap-servers", own_cluster.bootstrap, "--read-only", width=160, height=48
    )
    embedded.wait_for("three brokers run", lambda text: text.count("● running") == 3)
    attached.wait_for("three brokers are up", lambda text: text.count("● up") == 3 and "read-only" in text)
    attached.press("C-k")
    attached.wait_for("why not", lambda text: "kill: needs the broker processes of an embedded cluster" in text)
    embedded.press("z")
    embedded.wait_for("a paused broker", lambda text: "Ⅱ paused" in text)
    attached.wait_for("a broker that does not answer", lambda text: "✗ no answer" in text)
    embedded.press("Z")
    attached.wait_for("all answer", lambda text: text.count("● up") == 3)
    for terminal in (embedded, attached):
        terminal.press(":", "q", "Enter")
        terminal.wait_for("the end", lambda text: "the exit code is 0" in text)
    assert [row["state"] for row in own_cluster.status()] == ["running"] * 3


def test_a_cluster_that_is_not_there_is_said_and_the_console_stays(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals(str(KCONSOLE), "--bootstrap-servers", "127.0.0.1:1")
    terminal.wait_for("the reason", lambda text: "cannot connect to 127.0.0.1:1: connection refused" in text)
    for key in "12345678":
        terminal.press(key)
    terminal.wait_for("the last screen", lambda text: "acts(all)[0]" in text)
    terminal.press(":", "q", "Enter")
    terminal.wait_for("the end", lambda text: "the exit code is 0" in text)


def test_status_of_the_consoles_cluster_is_told_to_the_command_line(
    tmp_path: Path, terminals: Callable[..., Terminal]
) -> None:
    data_dir = tmp_path / "data"
    terminal = terminals(str(KCONSOLE), "--no-workload", "--data-dir", str(data_dir))
    terminal.wait_for("three brokers run", lambda text: text.count("● running") == 3)
    done = subprocess.run(
        [str(KCONSOLE), "kill", "1", "--json", "--data-dir", str(data_dir)], capture_output=True, text=True, check=True
    )
    assert [row["state"] for row in json.loads(done.stdout)["brokers"]] == ["killed"]
    terminal.wait_for("the killed broker", lambda text: "✗ killed" in text and "2/3 up" in text)
    terminal.press("C-q")
    terminal.wait_for("the end", lambda text: "the exit code is 0" in text)
    assert processes_of(data_dir) == []


async def test_a_failover_is_seen_from_the_tail_to_the_whole_isr(tmp_path: Path) -> None:
    """The same story as in the terminal, in Textual's pilot."""
    cluster = start_cluster(tmp_path, (ROOT / "sample_cluster.yaml").read_text())
    try:
        gateway = open_gateway(ConsoleOptions(control_socket=cluster.line["control_socket"]))
        async with live(gateway, 80, 24, tmp_path / "recording.db") as console:
            await console.until("three brokers", lambda text: text.count("● running") == 3 and "3/3 up" in text)
            await console.command("records orders")
            await console.until("a tail", lambda text: text.count('{"order":') >= 5 and "following" in text)
            last = await console.until("its last record", last_order)
            await console.until("records that come", lambda text: (last_order(text) or 0) > last + 5)
            await console.command("partitions orders")
            before = await console.until(
                "partitions", lambda text: len(partition_rows(text)) == 6 and partition_rows(text)
            )
            victim, epoch, _ = before[0]
            await console.press("ctrl+k")
            leader, epoch_now, isr = await console.until(
                "another leader in a later epoch, with a smaller ISR",
                lambda text: (
                    (row := partition_rows(text).get(0)) and row[0] != victim and str(victim) not in row[2] and row
                ),
            )
            assert epoch_now > epoch and len(isr) == len("1,2")
            await console.until(
                "why", lambda text: f"leader {victim}→{leader}" in text and f"broker {victim} fenced" in text
            )
            await console.press("5")
            await console.until("the stopwatch, filling", lambda text: re.search(r"fenced .* [\d.]+ m?s", text))
            await console.until(
                "the ledger", lambda text: "acked, 0 lost" in text and "lost 0   duplicated 0   reordered 0" in text
            )
            for stage in STAGES:
                await console.until(stage, lambda text, stage=stage: re.search(rf"{stage} .* [\d.]+ m?s", text))
            # The tail went on meanwhile, under the new leader.
            await console.command("records orders")
            last = await console.until("the tail", last_order)
            await console.until("records that come", lambda text: (last_order(text) or 0) > last + 5)
            await console.press("5", "s")
            await console.until("three brokers", lambda text: "3/3 up" in text)
            await console.command("partitions orders")
            await console.until(
                "whole ISRs",
                lambda text: [len(isr) for _, _, isr in partition_rows(text).values()] == [len("1,2,3")] * 6,
            )
            await console.until("that in the events, too", lambda text: "isr expanded" in text)
            bundle = tmp_path / "incident.kbundle"
            await before_the_kill(console, victim, epoch, bundle)
        async with live(RecordedGateway(Record(str(bundle)), has_present=False), 80, 24) as console:
            await console.until("the bundle", lambda text: "◀ RECORD" in text)
            await console.command("partitions orders")
            await the_old_leader(console, victim, epoch)
    finally:
        stop_cluster(cluster)


async def before_the_kill(console: LiveConsole, victim: int, epoch: int, bundle: Path) -> None:
    """Back to the kill, and to the event before: the old leader leads. What was seen then is exported."""
    await the_old_leader(console, victim, epoch)
    await console.press("ctrl+k")
    await console.until("why not", lambda text: "this is the past" in text)
    console.app.main.run_command(f"bundle {bundle}")
    await console.until("the bundle", lambda text: bundle.exists())
    await console.press("tilde")
    await console.until("the present", lambda text: "PAST" not in text and "◀" not in text)


async def the_old_leader(console: LiveConsole, victim: int, epoch: int) -> None:
    """At the kill, and the event before it."""
    kill = next(each for each in console.app.events if each.kind == "process_killed")
    console.app.main.run_command(f"back {clock_time(kill.at_ms)}")
    await console.until("the kill", lambda text: (at := console.app.travel.moment) and at.at_ms == kill.at_ms)
    await console.press("left_curly_bracket")
    leader, epoch_then, isr = await console.until(
        "the old leader",
        lambda text: (row := partition_rows(text).get(0)) and row[0] == victim and row,
    )
    assert (leader, epoch_then, len(isr)) == (victim, epoch, len("1,2,3"))


def last_order(text: str) -> int | None:
    """Number of the lowest order on the Records screen."""
    found = re.findall(r'\{"order": (\d+)', text)
    return int(found[-1]) if found else None
