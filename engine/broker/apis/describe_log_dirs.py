"""DescribeLogDirs (35), versions 1-5: this broker's log directories, what is in them, and the room that is left.

Copies that AlterReplicaLogDirs makes are future replicas. Version 3 has an error for the whole answer, 4 the size of
the volume (KIP-827), 5 whether the directory takes no new replicas (cordoned.log.dirs, KIP-1066).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import ErrorCode
from engine.wire.apis import ApiKey
from engine.wire.messages.describe_log_dirs_request import DescribeLogDirsRequest
from engine.wire.messages.describe_log_dirs_response import (
    DescribeLogDirsPartition,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.DESCRIBE_LOG_DIRS, 1, 5)


def handle(context: RequestContext, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    """Every directory; with ``topics`` only what is in them of those partitions."""
    broker = context.broker
    wanted = None
    if request.topics is not None:
        wanted = {(topic.topic, number) for topic in request.topics for number in topic.partitions}
    by_directory: dict[str, dict[str, list[DescribeLogDirsPartition]]] = {
        path: {} for path in broker.log_dirs.directory_ids
    }
    for (topic, number), replica in sorted(broker.replicas.replicas.items()):
        if wanted is not None and (topic, number) not in wanted:
            continue
        lag = max(0, replica.partition.high_watermark - replica.log.log_end_offset)
        partition = DescribeLogDirsPartition(number, replica.log.size_bytes, lag)
        by_directory.setdefault(replica.log_dir, {}).setdefault(topic, []).append(partition)
    for topic_partition, move in sorted(broker.replicas.moves.moves.items()):
        topic, number = topic_partition
        if wanted is None or (topic, number) in wanted:
            size = 0 if move.future is None else move.future.size_bytes
            future = DescribeLogDirsPartition(number, size, move.lag, True)
            by_directory.setdefault(move.path, {}).setdefault(topic, []).append(future)
    response = DescribeLogDirsResponse()
    for path, topics in by_directory.items():
        result = DescribeLogDirsResult(
            log_dir=path,
            topics=[DescribeLogDirsTopic(name, partitions) for name, partitions in topics.items()],
            is_cordoned=path in broker.log_dirs.cordoned,
        )
        try:
            if path in broker.offline_log_dirs:
                raise OSError(f"{path} is offline")
            result.total_bytes = broker.world.disk.total_bytes(path)
            result.usable_bytes = broker.world.disk.free_bytes(path)
        except OSError:
            result.error_code = int(ErrorCode.KAFKA_STORAGE_ERROR)
            result.topics = []
        response.results.append(result)
    return response
