"""PostgreSQL → topics → a Streams application → PostgreSQL and Parquet, while everything on the way is killed.

Rows come by change data capture and by an incrementing SQL source, exactly once; ``make connect-pipeline`` makes the
run long, with faults as long as it lasts.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import free_port
from engine.testing.cluster import KafkaCluster
from tests.integration.conftest import ROOT, SPEC, start_cluster, stop_cluster
from tests.integration.postgres_server import USER, PostgresServer
from tests.spark.counting import IS_THERE, counted_by_spark

ORDERS = int(os.environ.get("KCONSOLE_PIPELINE_ORDERS", "400"))
IS_LONG = ORDERS > 5_000
PAYMENTS = ORDERS // 4
FEEDING_S = ORDERS / 200 if IS_LONG else 3.0
CUSTOMERS = 50
PARTITIONS = 3
TOPICS = ("shop.public.orders", "priced", "totals", "shop-payments")
CONFIGS = {
    "group.min.session.timeout.ms": 500,
    "group.initial.rebalance.delay.ms": 0,
    "group.streams.min.session.timeout.ms": 500,
    "group.streams.session.timeout.ms": 6000 if IS_LONG else 2000,
    "group.streams.min.heartbeat.interval.ms": 100,
    "group.streams.heartbeat.interval.ms": 500 if IS_LONG else 200,
    "group.streams.initial.rebalance.delay.ms": 0,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 200,
    "offsets.topic.num.partitions": 5,
    "transaction.state.log.num.partitions": 5,
}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600 if IS_LONG else 120)]


class Process:
    """A worker of Connect or Streams that is killed and started again."""

    def __init__(self, name: str, command: list[str], directory: Path) -> None:
        self.name = name
        self.log_file = directory / f"{name}.log"
        self._command = command
        self.start()

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(60)


class Brokers:
    """Three: threads of this process for a short run, processes for a long one."""

    def __init__(self, directory: Path) -> None:
        if IS_LONG:
            directory.mkdir()
            spec = SPEC.replace("  group.initial.rebalance.delay.ms: 0\n", "").replace(
                "  offsets.topic.num.partitions: 10\n", ""
            )
            cluster = start_cluster(
                directory, spec + "".join(f"  {name}: {value}\n" for name, value in CONFIGS.items())
            )
            self.bootstrap, self.ids = cluster.bootstrap, sorted(row["id"] for row in cluster.status())
            self.kill: Callable[[int], Any] = lambda broker: cluster.cli("kill", str(broker))
            self.start: Callable[[int], Any] = lambda broker: cluster.cli("start", str(broker))
            self.close: Callable[[], Any] = lambda: stop_cluster(cluster)
        else:
            threads = KafkaCluster(3, configs=CONFIGS)
            threads.start()
            self.bootstrap, self.ids = threads.bootstrap_servers, [1, 2, 3]
            self.kill, self.start, self.close = threads.kill, threads.start, threads.close
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_topics([NewTopic(each, PARTITIONS, 3) for each in TOPICS]).values():
            future.result(30)


class Shop:
    """Writes orders and payments in transactions, and knows which there must be: also when the server dies under it."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self._server, self._database = server, database
        self._random = random.Random(7)
        self.orders, self.payments = 0, 0
        self.failure: BaseException | None = None
        server.run(
            "CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, amount numeric(10,2) NOT NULL)",
            "CREATE TABLE payments (id bigint PRIMARY KEY, amount numeric(10,2) NOT NULL)",
            database=database,
        )
        # These are there before the connectors are: the snapshot's.
        self._commit("orders", ORDERS // 8)
        self._thread = threading.Thread(target=self._write, daemon=True)

    @staticmethod
    def price(order: int) -> int:
        return order * 7919 % 100_000

    def start(self) -> None:
        self._thread.start()

    @property
    def is_writing(self) -> bool:
        return self._thread.is_alive()

    def _write(self) -> None:
        began = time.monotonic()
        try:
            while self.orders < ORDERS or self.payments < PAYMENTS:
                due = min(ORDERS, int((time.monotonic() - began) / FEEDING_S * ORDERS) + 20)
                if self.orders < due:
                    self._commit("orders", min(due, self.orders + self._random.randint(1, 40)))
                if self.payments * 4 < min(self.orders, ORDERS) or (
                    self.orders >= ORDERS > 0 and self.payments < PAYMENTS
                ):
                    self._commit("payments", min(PAYMENTS, self.payments + self._random.randint(1, 10)))
                time.sleep(0.01)
        except BaseException as error:
            self.failure = error

    def _commit(self, table: str, last: int) -> None:
        """Rows up to an id, in one transaction; whether one was committed is asked when the server is back."""
        first = (self.orders if table == "orders" else self.payments) + 1
        columns = "id, customer, amount" if table == "orders" else "id, amount"
        customer = f"n % {CUSTOMERS}, " if table == "orders" else ""
        statement = (
            f"INSERT INTO {table} ({columns}) SELECT n, {customer}(n * 7919 % 100000) / 100.0"
            f" FROM generate_series({first}, {last}::bigint) n WHERE n > coalesce((SELECT max(id) FROM {table}), 0)"
        )
        while first <= last:
            try:
                self._server.run(statement, database=self._database)
                break
            except psycopg2.OperationalError:
                time.sleep(0.1)
        if table == "orders":
            self.orders = last
        else:
            self.payments = last


class Topic:
    """What a reader of committed records sees."""

    def __init__(self, bootstrap: str, name: str, number: Callable[[dict[str, Any]], int]) -> None:
        self.counts: Counter[int] = Counter()
        self._number = number
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "nobody", "isolation.level": "read_committed",
             "auto.offset.reset": "earliest", "log_level": 0}
        )  # fmt: skip
        self._consumer.assign([TopicPartition(name, each, 0) for each in range(PARTITIONS)])

    def read(self) -> int:
        """How many different ones there are by now."""
        for message in self._consumer.consume(5000, 0.05):
            if message.error() is None:
                self.counts[self._number(json.loads(message.value()))] += 1
        return len(self.counts)


class Connect:
    """Workers of one group, and REST of any that lives."""

    def __init__(self, bootstrap: str, directory: Path, count: int) -> None:
        self.workers, self._ports = [], [free_port() for _ in range(count)]
        for number, port in enumerate(self._ports):
            properties = {
                "bootstrap.servers": bootstrap,
                "group.id": "pipeline",
                "listeners": f"http://127.0.0.1:{port}",
                "rest.auth": "none",
                "exactly.once.source.support": "enabled",
                "config.storage.topic": "pipeline-configs",
                "offset.storage.topic": "pipeline-offsets",
                "status.storage.topic": "pipeline-statuses",
                "offset.storage.partitions": 3,
                "status.storage.partitions": 2,
                "scheduled.rebalance.max.delay.ms": 1500,
                "session.timeout.ms": 4000 if IS_LONG else 2500,
                "heartbeat.interval.ms": 500,
                "offset.flush.interval.ms": 500,
                "consumer.isolation.level": "read_committed",
                "consumer.session.timeout.ms": 6000 if IS_LONG else 3000,
                "consumer.heartbeat.interval.ms": 500,
                "producer.transaction.timeout.ms": 10_000,
                "key.converter": "org.apache.kafka.connect.json.JsonConverter",
                "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            }
            file = directory / f"connect-{number}.properties"
            file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
            command = [sys.executable, "-m", "engine.connect.runtime", str(file)]
            self.workers.append(Process(f"connect-{number}", command, directory))

    def ask(self, method: str, path: str, body: Any = None, timeout_s: float = 60) -> Any:
        """Of any worker, again while none is there or the group changes."""
        deadline = time.monotonic() + timeout_s
        while True:
            for port in self._ports:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}{path}",
                    None if body is None else json.dumps(body).encode(),
                    {"Content-Type": "application/json"},
                    method=method,
                )
                try:
                    with urllib.request.urlopen(request, timeout=10) as response:
                        return json.loads(response.read() or b"null")
                except urllib.error.HTTPError as error:
                    said = f"{error.code} {error.read().decode()}"
                    if error.code == 400:
                        raise AssertionError(said) from error
                except OSError as error:
                    said = str(error)
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def failures(self) -> list[str]:
        """Traces of tasks and connectors that have failed."""
        found = []
        for name, each in self.ask("GET", "/connectors?expand=status").items():
            status = each["status"]
            states = [("connector", status["connector"]), *((str(task["id"]), task) for task in status["tasks"])]
            found += [f"{name} {what}: {state.get('trace')}" for what, state in states if state["state"] == "FAILED"]
        return found

    def restart_failed(self) -> int:
        """As an operator does; how many there were."""
        failed = self.failures()
        for each in failed:
            name = each.split()[0]
            print(f"         {name} has failed: {each.strip().splitlines()[-1]}")
            self.ask("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed=true")
        return len(failed)


def connectors(server: PostgresServer, database: str, files: Path) -> dict[str, dict[str, str]]:
    url = f"jdbc:postgresql://127.0.0.1:{server.port}/{database}"
    plain = {
        "value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "false",
        "value.converter.decimal.format": "NUMERIC", "key.converter.schemas.enable": "false",
    }  # fmt: skip
    upsert = {
        "connector.class": "io.confluent.connect.jdbc.JdbcSinkConnector", "connection.url": url,
        "connection.user": USER, "insert.mode": "upsert", "pk.mode": "record_value", "auto.create": "true",
        "max.retries": "100",
        "retry.backoff.ms": "300", "connection.attempts": "1", "tasks.max": "2",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    }  # fmt: skip
    return {
        "orders": {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": "127.0.0.1", "database.port": str(server.port), "database.user": USER,
            "database.dbname": database, "topic.prefix": "shop", "slot.name": database, "publication.name": database,
            "table.include.list": r"public\.orders", "exactly.once.support": "required",
            "transaction.boundary": "connector", "retriable.restart.connector.wait.ms": "300",
            "status.update.interval.ms": "500",
            "transforms": "after", "transforms.after.type": "org.apache.kafka.connect.transforms.ExtractField$Value",
            "transforms.after.field": "after", **plain,
        },
        "payments": {
            "connector.class": "io.confluent.connect.jdbc.JdbcSourceConnector", "connection.url": url,
            "connection.user": USER, "connection.attempts": "1", "mode": "incrementing",
            "incrementing.column.name": "id", "table.whitelist": "payments", "topic.prefix": "shop-",
            "poll.interval.ms": "200", "exactly.once.support": "required", **plain,
        },
        "orders-table": {**upsert, "topics": "priced", "pk.fields": "id", "table.name.format": "orders_out"},
        "totals-table": {**upsert, "topics": "totals", "pk.fields": "customer", "table.name.format": "totals_out"},
        "orders-files": {
            "connector.class": "engine.connect.connectors.object_store.ObjectStoreSinkConnector", "topics": "priced",
            "store.url": str(files), "flush.size": "1000" if IS_LONG else "50", "partitioner.class": "hourly",
            "rotate.schedule.interval.ms": "2000", "tasks.max": "2",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        },
    }  # fmt: skip


def counted(files: Path) -> tuple[int, int, int]:
    """Rows, different ids and cents in the files, as DuckDB reads them."""
    found = f"{files}/topics/priced/**/*.parquet"
    if not list(files.glob("topics/priced/**/*.parquet")):
        return 0, 0, 0
    ((rows, ids, cents),) = duckdb.sql(f"SELECT count(*), count(DISTINCT id), sum(cents) FROM '{found}'").fetchall()
    return rows, ids, int(cents)


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    running = Brokers(tmp_path / "brokers")
    yield running
    running.close()


def test_each_row_arrives_once_while_workers_brokers_and_the_database_die(
    tmp_path: Path, brokers: Brokers, postgres: PostgresServer
) -> None:
    database, files = postgres.new_database("pipeline"), tmp_path / "files"
    shop = Shop(postgres, database)
    streams_configs = {
        "application.id": "pricing", "bootstrap.servers": brokers.bootstrap, "processing.guarantee": "exactly_once_v2",
        "commit.interval.ms": 200, "transaction.timeout.ms": 5000, "session.timeout.ms": 6000 if IS_LONG else 2000,
        "heartbeat.interval.ms": 500 if IS_LONG else 200, "replication.factor": 3,
    }  # fmt: skip
    streams: list[Process] = []
    for number in range(2 if IS_LONG else 1):
        told = {**streams_configs, "state.dir": tmp_path / f"state-{number}"}
        command = [sys.executable, "-m", "engine.streams.runtime", "tests.integration.connect_topologies:pricing"]
        command += [part for name, value in told.items() for part in ("--set", f"{name}={value}")]
        streams.append(Process(f"streams-{number}", command, tmp_path))
    connect = Connect(brokers.bootstrap, tmp_path, 2)
    began = time.monotonic()
    kills: Counter[str] = Counter()
    try:
        for name, config in connectors(postgres, database, files).items():
            connect.ask("PUT", f"/connectors/{name}/config", config)
        priced = Topic(brokers.bootstrap, "priced", lambda value: int(value["payload"]["id"]))
        paid = Topic(brokers.bootstrap, "shop-payments", lambda value: int(value["id"]))
        _wait(lambda: priced.read() > 0, "the first order", 60, connect)
        shop.start()
        victims: dict[str, Callable[[], None]] = {"postgres": partial(_bounce_postgres, postgres)}
        victims |= {each.name: partial(_bounce, each, 1.0) for each in connect.workers}
        victims |= {each.name: partial(_bounce, each, 0.5) for each in streams}
        victims |= {f"broker-{each}": partial(_bounce_broker, brokers, each) for each in brokers.ids}
        restarted = 0
        for name in _turns(list(victims)) if IS_LONG else ("postgres", "connect-0", "broker-2"):
            if IS_LONG and not shop.is_writing:
                break
            victims[name]()
            kills[name] += 1
            time.sleep(3.0 if IS_LONG else 0.3)
            if IS_LONG:
                restarted += connect.restart_failed()
                now_s = time.monotonic() - began
                print(f"{now_s:6.0f} s  {shop.orders} orders written, {priced.read()} told; killed {name}")
        assert shop.failure is None, shop.failure
        _wait(lambda: not shop.is_writing, "the shop's end", 60, connect)
        _wait(lambda: priced.read() >= ORDERS, "all orders", 120, connect)
        _wait(lambda: paid.read() >= PAYMENTS, "all payments", 60, connect)
        table = "SELECT count(*), count(DISTINCT id), coalesce(sum(cents), 0)::bigint FROM orders_out"
        cents = sum(map(Shop.price, range(1, ORDERS + 1)))
        wanted = (ORDERS, ORDERS, cents)
        _wait(lambda: _asked(postgres, database, table) == [wanted], "the table", 60, connect)
        _wait(lambda: counted(files) == wanted, "the files", 60, connect)
        totals = defaultdict(lambda: [0, 0])
        for each in range(1, ORDERS + 1):
            totals[each % CUSTOMERS][0] += 1
            totals[each % CUSTOMERS][1] += Shop.price(each)
        by_customer = sorted((customer, *total) for customer, total in totals.items())
        query = "SELECT customer, orders, cents FROM totals_out ORDER BY 1"
        _wait(lambda: _asked(postgres, database, query) == by_customer, "the totals", 60, connect)
        priced.read(), paid.read()
        assert priced.counts == Counter(range(1, ORDERS + 1)), _differences(priced.counts, ORDERS)
        assert paid.counts == Counter(range(1, PAYMENTS + 1)), _differences(paid.counts, PAYMENTS)
        assert counted(files) == wanted
        by_spark = "PySpark was not asked"
        if IS_LONG and IS_THERE:
            aggregates = ("count(*) AS rows", "count(DISTINCT id) AS ids", "sum(cents) AS cents")
            told = counted_by_spark(files / "topics" / "priced", *aggregates)
            assert tuple(int(told[name]) for name in ("rows", "ids", "cents")) == wanted
            by_spark = f"PySpark and DuckDB count {told['rows']} rows of them"
        query = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) < 65536 FROM pg_replication_slots"
        if IS_LONG:
            _wait(lambda: _asked(postgres, database, query) == [(True,)], "that PostgreSQL may forget", 20, connect)
        took = time.monotonic() - began
        print(
            f"\n{ORDERS} orders and {PAYMENTS} payments in {took:.0f} s, each once: in topics, PostgreSQL and "
            f"{len(list(files.glob('topics/priced/**/*.parquet')))} Parquet files; {sum(kills.values())} kills "
            f"({', '.join(f'{name} {count}' for name, count in sorted(kills.items()))}); {restarted} failed tasks "
            f"restarted; {by_spark}"
        )
    except BaseException:
        for each in (*connect.workers, *streams):
            print(f"--- {each.name}\n{each.log_file.read_text()[-4000:]}")
        raise
    finally:
        for each in (*connect.workers, *streams):
            each.kill()
        time.sleep(0.5)
        _forget_slot(postgres, database)


def _turns(names: list[str]) -> Iterator[str]:
    """Each once, in another order, again and again."""
    while True:
        yield from random.sample(names, len(names))


def _bounce(process: Process, pause_s: float) -> None:
    process.kill()
    time.sleep(pause_s)
    process.start()


def _bounce_broker(brokers: Brokers, broker: int) -> None:
    brokers.kill(broker)
    time.sleep(1.0)
    brokers.start(broker)


def _bounce_postgres(server: PostgresServer) -> None:
    server.kill()
    time.sleep(0.5)
    server.start()


def _asked(server: PostgresServer, database: str, query: str) -> list[tuple[Any, ...]]:
    try:
        return server.run(query, database=database)
    except psycopg2.errors.UndefinedTable:
        return []


def _differences(counts: Counter[int], last: int) -> str:
    lost = [each for each in range(1, last + 1) if not counts[each]]
    doubled = {each: count for each, count in counts.items() if count > 1}
    return f"{len(lost)} lost: {lost[:10]}; {len(doubled)} more than once: {dict(list(doubled.items())[:10])}"


def _wait(holds: Callable[[], bool], what: str, timeout_s: float, connect: Connect) -> None:
    deadline = time.monotonic() + timeout_s * (3 if IS_LONG else 1)
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s; {connect.failures()}"
        time.sleep(0.1)


def _forget_slot(server: PostgresServer, database: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        slots = server.run(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{database}'")
        if not slots:
            return
        if slots == [(False,)]:
            server.run(f"SELECT pg_drop_replication_slot('{database}')")
            return
        time.sleep(0.2)
