"""AlterReplicaLogDirs (34), versions 1-2: move replicas between the log directories of this broker (KIP-113).

Answered at once; the copy that is made is in DescribeLogDirs as a future replica until it takes the log's place. A
replica that is not here yet is answered with REPLICA_NOT_AVAILABLE, and is made in that directory when it comes.
replica.alter.log.dirs.io.max.bytes.per.second holds. One replica is copied at a time, whatever
num.replica.alter.log.dirs.threads says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.api_spec import ApiSpec
from engine.model.errors import KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_replica_log_dirs_request import AlterReplicaLogDirsRequest
from engine.wire.messages.alter_replica_log_dirs_response import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

API = ApiSpec(ApiKey.ALTER_REPLICA_LOG_DIRS, 1, 2)


def handle(context: RequestContext, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
    """Each replica for itself."""
    moves = context.broker.replicas.moves
    results: dict[str, AlterReplicaLogDirTopicResult] = {}
    for directory in request.dirs:
        for topic in directory.topics:
            result = results.setdefault(topic.name, AlterReplicaLogDirTopicResult(topic_name=topic.name))
            for number in topic.partitions:
                code = 0
                try:
                    moves.move(TopicPartition(topic.name, number), directory.path)
                except KafkaError as error:
                    code = int(error.code)
                result.partitions.append(AlterReplicaLogDirPartitionResult(partition_index=number, error_code=code))
    return AlterReplicaLogDirsResponse(results=list(results.values()))
