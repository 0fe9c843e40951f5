"""How many OffsetCommits a second a cluster acknowledges, of groups without members; wherever it keeps offsets.

    python -m bench.offset_commits 127.0.0.1:9092

It makes a topic of 100 partitions, commits to it for some seconds in each case, and deletes topic and groups again.
Each committer is a group with a connection to its coordinator and sends the next request when the last is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
import time
from statistics import median
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic

from engine.wire import apis, codec
from engine.wire.message import Message
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.request_header import RequestHeader

TOPIC = "bench-offset-commits"
PARTITIONS = 100
CASES = ((1, 1), (1, 100), (32, 1), (32, 100))
_COMMIT_VERSION, _FIND_VERSION = 9, 3


def _frame(request: Message, version: int) -> bytes:
    header = RequestHeader(
        request_api_key=request.API_KEY, request_api_version=version, correlation_id=1, client_id="bench"
    )
    data = codec.encode(header, apis.request_header_version(request.API_KEY, version)) + codec.encode(request, version)
    return struct.pack(">i", len(data)) + data


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame: bytes) -> bytes:
    writer.write(frame)
    return await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])


async def _coordinator(address: tuple[str, int], group: str) -> tuple[str, int]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        while True:
            request = FindCoordinatorRequest(key=group)
            data = await _ask(reader, writer, _frame(request, _FIND_VERSION))
            found: Any = codec.decode(apis.response_class(request.API_KEY), _FIND_VERSION, data, 5)[0]
            if not found.error_code:
                return found.host, found.port
            await asyncio.sleep(0.1)
    finally:
        writer.close()


async def _commit(address: tuple[str, int], group: str, partitions: int, until: float, took_s: list[float]) -> None:
    reader, writer = await asyncio.open_connection(*await _coordinator(address, group))
    request = OffsetCommitRequest(
        group_id=group,
        topics=[
            OffsetCommitRequestTopic(
                name=TOPIC,
                partitions=[OffsetCommitRequestPartition(each, 1, 0, "") for each in range(partitions)],
            )
        ],
    )
    offset = 0
    while (begun := time.perf_counter()) < until:
        offset += 1
        for each in request.topics[0].partitions:
            each.committed_offset = offset
        data = await _ask(reader, writer, _frame(request, _COMMIT_VERSION))
        took_s.append(time.perf_counter() - begun)
        response: Any = codec.decode(apis.response_class(request.API_KEY), _COMMIT_VERSION, data, 5)[0]
        errors = {each.error_code for topic in response.topics for each in topic.partitions}
        if errors != {0}:
            # While the coordinator is loaded; it is no commit.
            took_s.pop()
            await asyncio.sleep(0.05)
    writer.close()


async def _case(address: tuple[str, int], committers: int, partitions: int, seconds: float) -> list[float]:
    took_s: list[float] = []
    for length in (0.5, seconds):
        took_s = []
        until = time.perf_counter() + length
        await asyncio.gather(
            *(_commit(address, f"bench-{number}", partitions, until, took_s) for number in range(committers))
        )
    return took_s


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bootstrap")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    host, _, port = options.bootstrap.rpartition(":")
    admin = AdminClient({"bootstrap.servers": options.bootstrap})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result()
    try:
        for committers, partitions in CASES:
            took_s = asyncio.run(_case((host, int(port)), committers, partitions, options.seconds))
            commits = len(took_s) / options.seconds
            print(
                f"{committers} groups x {partitions} partitions: {commits:,.0f} commits/s,"
                f" {commits * partitions:,.0f} offsets/s, median {median(took_s) * 1000:.2f} ms",
                flush=True,
            )
    finally:
        admin.delete_topics([TOPIC])[TOPIC].result()
        for future in admin.delete_consumer_groups([f"bench-{each}" for each in range(max(CASES)[0])]).values():
            future.exception()


if __name__ == "__main__":
    main()
