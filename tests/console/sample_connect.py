"""Workers of Kafka Connect as the console is told of them: a source, a sink with a failed task, one that is paused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.viewmodel.connect_told import connector_told
from console.viewmodel.connectors import ConnectorRow, ConnectTaskRow, OffsetRow, TaskCount
from console.viewmodel.keeping import Told

GROUP = "connect-cluster"
TRACE = (
    "org.apache.kafka.connect.errors.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.\n"
    "\tat org.apache.kafka.connect.runtime.WorkerSinkTask.deliverMessages(WorkerSinkTask.java:635)\n"
    "Caused by: java.sql.SQLException: no such table: orders\n"
)
_WORKERS = ("127.0.0.1:8083", "127.0.0.1:8084")


def _connector(name: str, kind: str, state: str, tasks: Sequence[str], **config: str) -> Any:
    status = {
        "name": name,
        "type": kind,
        "connector": {"state": state, "worker_id": _WORKERS[0]},
        "tasks": [
            {"id": at, "state": each, "worker_id": _WORKERS[at % 2], **({"trace": TRACE} if each == "FAILED" else {})}
            for at, each in enumerate(tasks)
        ],
    }
    configs = {name.replace("__", "."): value for name, value in config.items()}
    return connector_told(status, {"name": name, "config": {"name": name, **configs}})


def connectors() -> list[ConnectorRow]:
    """Of one group of two workers."""
    source = _connector(
        "orders-source",
        "source",
        "RUNNING",
        ["RUNNING", "RUNNING"],
        connector__class="io.confluent.connect.jdbc.JdbcSourceConnector",
        connection__url="jdbc:postgresql://db/shop",
        connection__password="hunter2",
    )
    sink = _connector(
        "billing",
        "sink",
        "RUNNING",
        ["RUNNING", "FAILED"],
        connector__class="io.confluent.connect.jdbc.JdbcSinkConnector",
        topics="orders",
        consumer__override__group__id="billing",
        errors__tolerance="all",
        errors__deadletterqueue__topic__name="orders-dlq",
    )
    paused = _connector(
        "files", "source", "PAUSED", ["PAUSED"], connector__class="FileStreamSource", file="/var/log/app.log"
    )
    return [
        ConnectorRow(
            GROUP, source, ("orders",), {0: TaskCount(120_400, 812.0, 51_200), 1: TaskCount(98_112, 640.5, 51_201)}
        ),
        ConnectorRow(GROUP, sink, ("orders",), {0: TaskCount(40_100, 350.0, 51_202)}),
        ConnectorRow(GROUP, paused, (), {0: TaskCount(17, 0.0, 51_203)}),
    ]


PLUGINS = [
    {"class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "type": "sink", "version": "4.3.1"},
    {"class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "type": "source", "version": "4.3.1"},
]
KEYS = [
    {"name": "file", "required": False, "default_value": None},
    {"name": "name", "required": True, "default_value": None},
    {"name": "connector.class", "required": True, "default_value": None},
    {"name": "tasks.max", "required": False, "default_value": "1"},
    {"name": "topics", "required": False, "default_value": ""},
]


class ScriptedConnect:
    """Workers that are asked; refused as the gateway's other questions are."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self.rows = connectors()
        self.errors: list[tuple[str, str]] = []
        self.refusal = ""

    async def groups(self) -> Sequence[str]:
        self._gateway._maybe_refuse()
        return [GROUP]

    async def connectors(self) -> Told:
        if self._gateway.refusing:
            return Told({GROUP: None}, (f"{GROUP}: http://127.0.0.1:8083 does not answer: not in time",))
        return Told({GROUP: self.rows})

    async def tasks(self, group: str, name: str) -> Told:
        self._gateway._maybe_refuse()
        row = next(each for each in self.rows if each.told.name == name)
        return Told({"": [row, *(ConnectTaskRow(each, row.counts.get(each.number)) for each in row.told.tasks)]})

    async def offsets(self, group: str, name: str) -> Told:
        self._gateway._maybe_refuse()
        if name == "files":
            return Told({"": [OffsetRow({"filename": "/var/log/app.log"}, {"position": 9_177})]})
        found = [
            OffsetRow({"kafka_topic": "orders", "kafka_partition": at}, {"kafka_offset": 1_000 + at}) for at in range(3)
        ]
        return Told({"": found})

    async def ask(
        self, group: str, method: str, path: Sequence[str], body: Any = None, query: Mapping[str, str] | None = None
    ) -> Any:
        self._gateway.calls.append(("connect", method, "/".join(path), body, dict(query or {})))
        if self.refusal and method != "GET":
            raise GatewayError(self.refusal)
        if path[-1:] == ("validate",):
            values = [{"value": {"name": name, "errors": [message]}} for name, message in self.errors]
            return {"error_count": len(values), "configs": values}
        if path == ("connector-plugins",):
            return PLUGINS
        if path[-1] == "offsets":
            return {"message": "The offsets for this connector have been altered successfully"}
        return KEYS if path[-1] == "config" and method == "GET" else None
