"""States of connectors and tasks, and the topics that connectors use (``MemoryStatusBackingStore``)."""

from __future__ import annotations

from typing import NamedTuple

from engine.connect.runtime.herder import Status, TaskId


class TopicUse(NamedTuple):
    """A topic that a connector uses (``TopicStatus``); ``discovered_ms`` since 1970."""

    topic: str
    connector: str
    task: int
    discovered_ms: int


class StatusStore:
    """In memory alone."""

    def __init__(self) -> None:
        self._connectors: dict[str, Status] = {}
        self._tasks: dict[TaskId, Status] = {}
        self._topics: dict[str, dict[str, TopicUse]] = {}

    def connector(self, name: str) -> Status | None:
        """A connector's."""
        return self._connectors.get(name)

    def task(self, task: TaskId) -> Status | None:
        """A task's."""
        return self._tasks.get(task)

    def tasks(self, connector: str) -> dict[int, Status]:
        """Of all tasks of a connector."""
        return {each.task: status for each, status in sorted(self._tasks.items()) if each.connector == connector}

    def topics(self, connector: str) -> list[str]:
        """Topics that it uses, sorted."""
        return sorted(self._topics.get(connector, ()))

    def connector_names(self) -> list[str]:
        """All that have a state."""
        return list(self._connectors)

    def task_ids(self) -> list[TaskId]:
        """All that have a state."""
        return list(self._tasks)

    def put_connector(self, name: str, status: Status | None) -> None:
        """A connector's new state; None: it is gone."""
        if status is None:
            self._connectors.pop(name, None)
        else:
            self._connectors[name] = status

    def put_task(self, task: TaskId, status: Status | None) -> None:
        """A task's new state; None: it is gone."""
        if status is None:
            self._tasks.pop(task, None)
        else:
            self._tasks[task] = status

    def put_topic(self, use: TopicUse) -> None:
        """A connector uses a topic."""
        self._topics.setdefault(use.connector, {}).setdefault(use.topic, use)

    def reset_topics(self, connector: str) -> None:
        """Forget the topics that it uses."""
        self._topics.pop(connector, None)
