"""Copies a topic in transactions of aiokafka's, in a process of its own: what ``exactly_once_copier.py`` does.

aiokafka tells the group of a transaction by its name only (before KIP-447), so a zombie is fenced by its transactional
id alone: one process may copy for a group at a time.

``python exactly_once_aiokafka_copier.py BOOTSTRAP GROUP INPUT OUTPUT TRANSACTIONAL_ID BATCH ABORT_EVERY``
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any, NoReturn

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

WAIT_S = 20.0


def tell(kind: str, **fields: Any) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


async def copy(
    consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, group: str, output: str, batch: int, abort_every: int
) -> NoReturn:
    turn = 0
    while True:
        fetched = await consumer.getmany(timeout_ms=100, max_records=batch)
        if not fetched:
            continue
        turn += 1
        await producer.begin_transaction()
        sent = [
            await producer.send(output, b"copy of " + each.value, each.key, partition=each.partition)
            for records in fetched.values()
            for each in records
        ]
        await asyncio.gather(*sent)
        positions = {partition: records[-1].offset + 1 for partition, records in fetched.items()}
        await producer.send_offsets_to_transaction(positions, group)
        if abort_every and turn % abort_every == 0:
            await producer.abort_transaction()
            for partition in consumer.assignment():
                consumer.seek(partition, await consumer.committed(partition) or 0)
            tell("aborted")
        else:
            await producer.commit_transaction()
            tell("committed", records=len(sent))


async def main() -> NoReturn:
    logging.disable()
    bootstrap, group, source, output, transactional_id, batch, abort_every = sys.argv[1:]
    while True:
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=transactional_id,
            transaction_timeout_ms=10_000,
            request_timeout_ms=3000,
            metadata_max_age_ms=2000,
            linger_ms=2,
        )
        consumer = AIOKafkaConsumer(
            source,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            request_timeout_ms=3000,
            metadata_max_age_ms=2000,
        )
        try:
            async with asyncio.timeout(WAIT_S):
                # First, so that whoever went before has nothing open any more when the group's positions are asked for.
                await producer.start()
                await consumer.start()
            await copy(consumer, producer, group, output, int(batch), int(abort_every))
        except (KafkaError, TimeoutError) as failure:
            # Fenced, timed out, not reached: whoever goes on begins where the group's positions are.
            tell("begins anew", why=type(failure).__name__)
        finally:
            for client in (consumer, producer):
                try:
                    async with asyncio.timeout(WAIT_S):
                        await client.stop()
                except (KafkaError, TimeoutError) as failure:
                    tell("does not stop", why=type(failure).__name__)


if __name__ == "__main__":
    asyncio.run(main())
