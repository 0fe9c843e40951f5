"""An operator at work: topics come and go, preferred leaders are elected, configs change."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import ElectionType, KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not name what it exports
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from engine.chaos.clients import ClientThread, Shared, until

_TIMEOUT_S = 6.0
_PREFIX = "short"


class Administrator(ClientThread):
    """Sends one thing after the other."""

    def __init__(self, shared: Shared, lasting_topic: str, seed: int) -> None:
        super().__init__(shared, "administrator", seed)
        self._lasting = lasting_topic
        self._number = 0
        # Topics that were created for sure and nobody tried to delete; those that were deleted for sure.
        self._there: set[str] = set()
        self._gone: set[str] = set()

    def work(self) -> None:
        admin = AdminClient(self.shared.settings(self.name))
        while not self.is_stopping:
            self.pause(self.rng.uniform(0.2, 3))
            act = self.rng.choice((self._create, self._create, self._delete, self._elect, self._configure))
            act(admin)

    def _create(self, admin: AdminClient) -> None:
        self._number += 1
        topic = f"{_PREFIX}-{self._number}"
        created = admin.create_topics([NewTopic(topic, 2, 3)], operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S)
        code = self._outcome("create topic", created[topic])
        if code is None or code == KafkaError.TOPIC_ALREADY_EXISTS:  # an earlier attempt was not answered
            self._there.add(topic)

    def _delete(self, admin: AdminClient) -> None:
        if not self._there:
            return
        topic = self.rng.choice(sorted(self._there))
        self._there.discard(topic)
        deleted = admin.delete_topics([topic], operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S)
        if self._outcome("delete topic", deleted[topic]) is None:
            self._gone.add(topic)

    def _elect(self, admin: AdminClient) -> None:
        # With a time-out confluent-kafka 2.16 raises SystemError.
        self._outcome("elect leaders", admin.elect_leaders(ElectionType.PREFERRED, None))

    def _configure(self, admin: AdminClient) -> None:
        resource = ConfigResource(ResourceType.TOPIC, self._lasting)
        value = self.rng.choice(("1048576", "2097152", "4194304"))
        resource.add_incremental_config(
            ConfigEntry("segment.bytes", value, incremental_operation=AlterConfigOpType.SET)
        )
        answers = admin.incremental_alter_configs([resource], request_timeout=_TIMEOUT_S)
        self._outcome("alter configs", answers[resource])

    def _outcome(self, what: str, future: Any) -> int | None:
        """The error's code; None: it was done."""
        try:
            future.result(_TIMEOUT_S + 5)
        except KafkaException as error:
            self.count(f"{what} info")
            return int(error.args[0].code())
        except TimeoutError:
            self.count(f"{what} info")
            return int(KafkaError._TIMED_OUT)
        self.count(f"{what} ok")
        return None

    def check(self, timeout_s: float) -> list[str]:
        """What the cluster's topics should be and are not, when all faults are over."""
        admin = AdminClient(self.shared.settings("administrator-check"))
        wrong: list[str] = ["the topics could not be listed"]

        def holds() -> bool:
            try:
                found = set(admin.list_topics(timeout=5).topics)
            except KafkaException:
                return False
            wrong[:] = [f"topic {each} was created and is not there" for each in sorted(self._there - found)]
            wrong.extend(f"topic {each} was deleted and is there" for each in sorted(self._gone & found))
            return not wrong

        until(holds, timeout_s)
        return wrong


def create_topics(shared: Shared, topics: list[NewTopic], timeout_s: float) -> None:
    """Make the topics that last. Raises: TimeoutError, KafkaException: the cluster does not do it."""
    admin = AdminClient(shared.settings("administrator-setup"))
    deadline = time.monotonic() + timeout_s
    missing = {each.topic: each for each in topics}
    while missing:
        left = max(0.1, deadline - time.monotonic())
        made = admin.create_topics(list(missing.values()), operation_timeout=left, request_timeout=left)
        for name, future in made.items():
            try:
                future.result(left)
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError._DESTROY_BROKER and time.monotonic() < deadline:
                    # librdkafka let go of the bootstrap server that it had asked: who leads it knows now. Whether the
                    # request was carried out it does not know.
                    continue
                if code != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            del missing[name]
