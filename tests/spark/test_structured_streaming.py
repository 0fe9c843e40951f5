"""PySpark reads 200,000 records, as a table and as a stream, and writes them back. ``make spark`` fetches it first."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.integration.conftest import ROOT, start_cluster, stop_cluster

RECORDS, KEYS, PARTITIONS = 200_000, 1_000, 3
SPARK = ROOT / ".cache" / "spark-4.2.0"


def test_spark_reads_and_writes_back_every_record(tmp_path: Path) -> None:
    assert (SPARK / ".complete").exists(), "PySpark is not there: `make spark` fetches it"
    cluster = start_cluster(tmp_path)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 3) for name in ("spark-in", "spark-out")]).values():
        future.result(20)
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 20})
    for number in range(RECORDS):
        while True:
            try:
                producer.produce("spark-in", f"record {number}", f"key {number % KEYS}")
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(60) == 0

    jars = ",".join(str(each) for each in sorted((SPARK / "jars").glob("*.jar")) if _is_sparks(each.name))
    job = [str(SPARK / "venv/bin/python"), str(Path(__file__).with_name("streaming_job.py")), cluster.bootstrap, jars]
    done = subprocess.run(
        [*job, str(tmp_path / "checkpoint"), "spark-in", "spark-out"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["rows"], told["keys"], told["parts"], told["streamed"]) == (RECORDS, KEYS, PARTITIONS, RECORDS)
    assert told["batches"] >= 4

    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition("spark-out", each, 0) for each in range(PARTITIONS)])
    values: list[str] = []
    ended = 0
    while ended < PARTITIONS:
        message = consumer.poll(10)
        assert message is not None
        if message.error() is not None:
            ended += 1
        else:
            value = message.value()
            assert isinstance(value, bytes)
            values.append(value.decode())
    consumer.close()
    assert sorted(values) == sorted(f"RECORD {number}" for number in range(RECORDS))
    stop_cluster(cluster)


def _is_sparks(name: str) -> bool:
    """Spark has the others itself."""
    return not name.startswith(("hadoop-client", "scala-", "slf4j", "jsr305"))
