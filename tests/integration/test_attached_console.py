"""The console attached to a real Apache Kafka of three brokers: it shows all of it, harms nothing, and stays usable
when one of them dies."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench import clusters
from console.gateway.opening import open_gateway
from console.options import ConsoleOptions
from tests.console.live import LiveConsole, live

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

TOPICS = {"orders": 6, "payments": 3}
NEEDS_PROCESSES = "needs the broker processes of an embedded cluster"
# A dead broker is fenced after 4 s, not 9.
FASTER = "broker.session.timeout.ms=4000\nbroker.heartbeat.interval.ms=500\n"


class SmallKafka(clusters.ApacheKafkaCluster):
    """Small heaps, quick starts, and no JVM that outlives the tests, however they end."""

    def _java(self, heap: str, *arguments: str) -> list[str]:
        heap = "-Xmx384m" if heap == "-Xmx1G" else heap
        flags = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        java = ["java", heap, *flags, "-cp", f"{clusters.KAFKA_LIBS}/*", *arguments]
        return ["setpriv", "--pdeathsig", "KILL", *java] if shutil.which("setpriv") else java


class Traffic:
    """A producer to both topics and a group of two members that reads the orders."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._ending = threading.Event()
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for made in admin.create_topics([NewTopic(name, number, 3) for name, number in TOPICS.items()]).values():
            made.result(30)
        self._threads = [threading.Thread(target=each) for each in (self._produce, self._consume, self._consume)]
        for thread in self._threads:
            thread.start()

    def _produce(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 0, "log_level": 0})
        number = 0
        while not self._ending.is_set():
            for topic in TOPICS:
                producer.produce(topic, f'{{"number": {number}}}'.encode(), f"key-{number % 50}".encode())
            producer.poll(0)
            number += 1
            time.sleep(0.03)
        producer.purge()

    def _consume(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "billing",
                "client.id": "billing",
                "auto.offset.reset": "earliest",
                "auto.commit.interval.ms": 500,
                "session.timeout.ms": 6_000,
                "log_level": 0,
            }
        )
        consumer.subscribe(["orders"])
        while not self._ending.is_set():
            consumer.poll(0.1)
        consumer.close()

    def close(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallKafka]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "KAFKA_PROPERTIES", clusters.KAFKA_PROPERTIES + FASTER)
        cluster = SmallKafka(tmp_path_factory.mktemp("apache") / "kafka")
    traffic: list[Traffic] = []
    try:
        traffic.append(Traffic(cluster.bootstrap))
        yield cluster
    finally:
        for each in traffic:
            each.close()
        cluster.close()


def attached(kafka: SmallKafka, *, read_only: bool = False):
    return live(open_gateway(ConsoleOptions(bootstrap_servers=kafka.bootstrap, read_only=read_only)))


def partitions(text: str) -> dict[int, tuple[str, int, str]]:
    """Leader, epoch and ISR of each row of the Partitions screen."""
    rows = re.findall(r"^│[▌ ]  ?(\d+) +([★✗] \d) +(\d+) +[\d,]+ +([\d,]+)", text, re.MULTILINE)
    return {int(number): (leader, int(epoch), isr) for number, leader, epoch, isr in rows}


def replicas(text: str) -> list[tuple[str, ...]]:
    """Broker, log start, high watermark and log end of each replica of the selected partition."""
    return re.findall(r"broker (\d) +\D+([\d,]+) +([\d,]+) +([\d,]+)", text)


async def moves(console: LiveConsole, what: str, pattern: str) -> None:
    """Figures of a screen change while one looks."""
    first = await console.until(what, lambda text: re.findall(pattern, text))
    await console.until(f"{what} that move", lambda text: re.findall(pattern, text) not in ([], first))


async def test_every_screen_is_alive(kafka: SmallKafka) -> None:
    async with attached(kafka) as console:
        await console.until("three brokers", lambda text: text.count("● up") == 3 and "3/3 up" in text)
        assert "attached" in console.text
        await moves(console, "records a second", r"(\d+) records/s")
        await console.press("2")
        await moves(console, "records of both topics", r"(?:orders|payments) +● in sync +\d +3 +([\d,]+)")
        await console.press("enter")
        await console.until("six partitions", lambda text: len(partitions(text)) == 6)
        first = await console.until("each replica's log", lambda text: len(replicas(text)) == 3 and replicas(text))
        await console.until("logs that move", lambda text: replicas(text) != first)
        await console.press("l")
        await console.until("records", lambda text: text.count('{"number": ') >= 5 and "following" in text)
        await moves(console, "a tail", r'key-\d+ .*\{"number": (\d+)\}')
        await console.press("3")
        await console.until("the group", lambda text: re.search(r"billing +● Stable +classic +2", text))
        await console.press("enter")
        await console.until("its offsets", lambda text: text.count("billing@127.0.0.1") == 6)
        await moves(console, "committed offsets", r"orders-\d +([\d,]+)")
        await console.press("m")
        await console.until("its members", lambda text: re.search(r"orders\[0,1,2\].*\n.*orders\[3,4,5\]", text))
        await console.press("7")
        await console.until("the quorum", lambda text: "3 of 3 voters answer, 1 may fail" in text)
        await console.command("configs orders")
        await console.until("configs", lambda text: "min.insync.replicas" in text)
        await console.command("connections")
        await console.until(
            "members and its own", lambda text: "member of billing" in text and "kconsole-observer" in text
        )
        await console.command("wire")
        await console.until("its own requests", lambda text: "Metadata v" in text and "own" in text)
        await console.press("space", "enter")
        await console.until("one of them decoded", lambda text: "RESPONSE" in text or "correlation_id" in text)
        await console.press("escape", "4")
        await console.until("events, if any", lambda text: "events(all)[" in text and "leader changed" not in text)


async def test_what_needs_processes_is_grey_and_says_why(kafka: SmallKafka) -> None:
    async with attached(kafka) as console:
        await console.until(
            "three brokers", lambda text: text.count("● up") == 3 and "ctrl-k (kill)" in text and "l (log)" in text
        )
        for key in ("ctrl+k", "x", "s", "r", "z", "Z"):
            await console.press(key)
            await console.until(f"why not {key}", lambda text: f": {NEEDS_PROCESSES}" in text)
            console.app.flash_message = None
        await console.press("l")
        await console.until("why no log", lambda text: "log: needs the log files of an embedded cluster" in text)
        await console.press("question_mark")
        await console.until("the help", lambda text: "not here: needs" in text and text.count("not here either") >= 3)
        await console.press("escape", "6")
        await console.until("no workload", lambda text: "the workload belongs to an embedded cluster" in text)
        await console.press("5")
        await console.until("no failovers", lambda text: f"killing brokers {NEEDS_PROCESSES}" in text)
        await console.command("kill 1")
        await console.until("why not by its name", lambda text: NEEDS_PROCESSES in text.splitlines()[-2])


async def test_acts_that_take_something_away_ask_first(kafka: SmallKafka) -> None:
    async with attached(kafka) as console:
        await console.press("2")
        await console.until("topics", lambda text: "payments" in text)
        await console.press("n")
        await console.type("doomed")
        await console.press("ctrl+s")
        await console.until("a new topic", lambda text: re.search(r"▌ doomed +● in sync", text))
        await console.press("m", "tab")
        await console.type("2")
        await console.press("ctrl+s")
        await console.until("the plan", lambda text: "1 partition change" in text)
        await console.press("y", "enter")
        await console.until("two replicas in sync", lambda text: re.search(r"▌ 0 +★ \d +\d+ +\d,\d +\d,\d", text))
        await console.press("escape", "a", "ctrl+s")
        await console.until("the question", lambda text: "Give doomed 2 partitions?" in text)
        await console.press("n", "E")
        await console.until("the question", lambda text: "Elect the preferred leaders" in text)
        await console.press("n", "e")
        await console.until("configs", lambda text: "configs(doomed)" in text and "retention.ms" in text)
        await console.press("slash", "circumflex_accent", *"retention", "full_stop", *"ms", "enter", "enter", "end")
        await console.type("5")
        await console.press("ctrl+s", "a")
        await console.until(
            "old and new", lambda text: "The brokers would take it" in text and re.search(r"\+ \d+5 +topic", text)
        )
        await console.press("y")
        await console.until("the change", lambda text: re.search(r"retention.ms +\d+5 ", text))
        await console.press("2", "ctrl+d")
        await console.until("the question", lambda text: "Delete doomed?" in text)
        await console.press("enter")
        await console.until("that nothing is deleted by enter alone", lambda text: "Delete doomed?" not in text)
        assert "doomed" in console.text
        await console.press("ctrl+d", "y")
        await console.until("no such topic", lambda text: "topic doomed deleted" in text and "▌ doomed" not in text)
        await console.press("8")
        await console.until("the same by hand", lambda text: "kafka-topics.sh --bootstrap-server" in text)


async def test_read_only_refuses_every_act_and_shows_everything(kafka: SmallKafka) -> None:
    async with attached(kafka, read_only=True) as console:
        await console.until("three brokers", lambda text: text.count("● up") == 3 and "read-only" in text)
        await console.press("2")
        await console.until("topics", lambda text: "payments" in text)
        for key in ("p", "n", "a", "E", "ctrl+d"):
            await console.press(key)
            await console.until(f"why not {key}", lambda text: "opened with --read-only" in text)
            assert "(produce)" in console.text, "no dialog was opened"
            console.app.flash_message = None
        for command in ("elect", "create", "produce orders"):
            await console.command(command)
            await console.until(f"why not :{command}", lambda text: "opened with --read-only" in text)
            console.app.flash_message = None
        await console.command("records orders")
        await console.until("records", lambda text: text.count('{"number": ') >= 5)


async def test_with_one_broker_killed_every_screen_stays_usable(kafka: SmallKafka) -> None:
    async with attached(kafka) as console:
        await console.until("three brokers", lambda text: text.count("● up") == 3)
        await console.command("partitions orders")
        before = await console.until("partitions", lambda text: len(partitions(text)) == 6 and partitions(text))
        victim = int(before[0][0][-1])
        kafka.kill(victim)

        # Until Kafka fences it, metadata names a leader that serves nobody; then the others take over.
        await console.until(
            "a leader that does not answer",
            lambda text: (
                (row := partitions(text).get(0))
                and row[0] == f"✗ {victim}"
                and re.search(r"offline [1-9]", text)
                and "✗ no answer" in text
            ),
        )
        after = await console.until(
            "a new leader in a new epoch, and a smaller ISR",
            lambda text: (
                (row := partitions(text).get(0))
                and row[0] != f"✗ {victim}"
                and row[1] > before[0][1]
                and str(victim) not in row[2]
                and row
            ),
        )
        await console.until(
            "the reason below", lambda text: f"leader {victim} → {after[0][-1]}" in text and "isr shrunk" in text
        )
        await console.until(
            "the dead one's figures, with their age", lambda text: re.search(r"✗ offline .* \d+s", text)
        )
        await console.until("the others' logs", lambda text: len(replicas(text)) >= 2)

        await console.press("l")
        await moves(console, "a tail", r'\{"number": (\d+)\}')
        await console.press("1")
        await console.until(
            "two brokers, and the age of the third",
            lambda text: "2/3 up" in text and re.search(r"no answer .* \d+s ", text),
        )
        await console.press("2")
        await console.until("topics", lambda text: re.search(r"orders +◐ 6 under-replicated", text))
        await moves(console, "records", r"orders .*?3 +([\d,]+) ")
        await console.press("3")
        await console.until("the group", lambda text: re.search(r"billing +● Stable +classic +2", text))
        await console.press("enter")
        await moves(console, "committed offsets", r"orders-\d +([\d,]+)")
        await console.press("7")
        await console.until("the quorum", lambda text: "2 of 3 voters answer, none may fail" in text)
        await console.command("events /orders-0|broker")
        await console.until(
            "what happened, and why",
            lambda text: all(
                re.search(event, text)
                for event in (
                    rf"✗ broker unreachable +broker {victim} +the connection broke",
                    rf"✗ broker fenced +broker {victim} +the controller counts it as down",
                    rf"⇄ leader changed +orders-0 +leader {victim} → {after[0][-1]}",
                    rf"▼ isr shrunk +orders-0 +{victim} left the ISR",
                )
            ),
        )
        await console.command("configs orders")
        await console.until("configs", lambda text: "min.insync.replicas" in text)

        kafka.start(victim)
        await console.press("1")
        await console.until("three brokers", lambda text: "3/3 up" in text and "under-replicated 0" in text, 60)
