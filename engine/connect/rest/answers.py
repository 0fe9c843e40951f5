"""Answers as Java's worker gives them: JSON, and ``{"error_code", "message"}`` for all that went wrong."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from engine.connect.runtime.herder import ConnectorInfo, ConnectorStatus, Status, TaskId


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON."""
    return web.Response(
        status=status,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"),
        content_type="application/json",
        headers=headers,
    )


def nothing(status: int = 204) -> web.Response:
    """No body."""
    return web.Response(status=status)


def error(status: int, message: str | None, headers: dict[str, str] | None = None) -> web.Response:
    """``ErrorMessage``."""
    return answer({"error_code": status, "message": message}, status, headers)


def task_id(task: TaskId) -> dict[str, Any]:
    """``ConnectorTaskId``."""
    return {"connector": task.connector, "task": task.task}


def info(found: ConnectorInfo) -> dict[str, Any]:
    """``ConnectorInfo``."""
    return {
        "name": found.name,
        "config": dict(found.config),
        "tasks": [task_id(each) for each in found.tasks],
        "type": found.type,
    }


def state(found: Status) -> dict[str, Any]:
    """``AbstractState``: the trace only of one that failed."""
    shown: dict[str, Any] = {"state": found.state, "worker_id": found.worker_id, "version": found.version}
    if found.trace is not None:
        shown["trace"] = found.trace
    return shown


def status(found: ConnectorStatus) -> dict[str, Any]:
    """``ConnectorStateInfo``."""
    return {
        "name": found.name,
        "connector": state(found.connector),
        "tasks": [{"id": number, **state(found.tasks[number])} for number in sorted(found.tasks)],
        "type": found.type,
    }
