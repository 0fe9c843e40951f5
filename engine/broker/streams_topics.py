"""Internal topics of streams groups, created by the controller while members wait (Kafka: AutoTopicCreationManager).

A heartbeat does not wait for them: members ask again, and are told what became of the last attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from engine.client.errors import ClientError
from engine.core.group.streams_topology import InternalTopic
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.message import Message
from engine.wire.messages.create_topics_request import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from engine.world import World

log = logging.getLogger(__name__)

_CREATE_TOPICS_VERSION = 7
_DEFAULT_REPLICATION_FACTOR = -1
_TOLD_FOR_INTERVALS = 2
# Kafka keeps no more either.
_MAX_TOLD = 1_000


class StreamsTopics:
    """Asks for topics, each once at a time, and remembers why some could not be created."""

    def __init__(
        self, world: World, forward: Callable[[Message, int], Awaitable[Any]], request_timeout_ms: int
    ) -> None:
        """``forward`` gives the controller's answer to a request."""
        self._clock = world.clock
        self._forward = forward
        self._timeout_ms = request_timeout_ms
        self._under_way: set[str] = set()
        self._errors: dict[str, tuple[str, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def create(self, topics: Iterable[InternalTopic], heartbeat_interval_ms: int) -> None:
        """Have these topics created, unless somebody does so already. Errors are told for two heartbeats."""
        wanted = [each for each in topics if each.name not in self._under_way]
        if not wanted:
            return
        self._under_way.update(each.name for each in wanted)
        task = asyncio.get_running_loop().create_task(self._create(wanted, heartbeat_interval_ms))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def errors(self, topics: Iterable[InternalTopic]) -> dict[str, str]:
        """Why topics could not be created lately, by name."""
        now_ms = self._clock.monotonic_ms()
        found = ((each.name, self._errors.get(each.name)) for each in topics)
        return {name: entry[0] for name, entry in found if entry is not None and entry[1] > now_ms}

    async def shutdown(self) -> None:
        """Stop waiting for the controller."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _create(self, topics: list[InternalTopic], heartbeat_interval_ms: int) -> None:
        request = CreateTopicsRequest(topics=[_creatable(each) for each in topics], timeout_ms=self._timeout_ms)
        names = [each.name for each in topics]
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                response = await self._forward(request, _CREATE_TOPICS_VERSION)
            failed = {
                each.name: each.error_message or ErrorCode(each.error_code).name
                for each in response.topics
                if each.error_code not in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS)
            }
        except TimeoutError:
            failed = dict.fromkeys(names, f"the controller did not answer within {self._timeout_ms} ms")
        except (ClientError, KafkaError, OSError) as error:
            failed = dict.fromkeys(names, str(error))
        finally:
            self._under_way.difference_update(names)
        until_ms = self._clock.monotonic_ms() + _TOLD_FOR_INTERVALS * heartbeat_interval_ms
        for name in names:
            self._errors.pop(name, None)
            if name in failed:
                self._errors[name] = (failed[name], until_ms)
                log.warning("internal topic %s could not be created: %s", name, failed[name])
        while len(self._errors) > _MAX_TOLD:
            self._errors.pop(next(iter(self._errors)))


def _creatable(topic: InternalTopic) -> CreatableTopic:
    return CreatableTopic(
        name=topic.name,
        num_partitions=topic.partitions,
        replication_factor=topic.replication_factor or _DEFAULT_REPLICATION_FACTOR,
        configs=[CreatableTopicConfig(name=name, value=value) for name, value in topic.configs],
    )
