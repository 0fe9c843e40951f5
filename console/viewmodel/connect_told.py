"""What Connect's workers tell of connectors, read from REST's answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

# Java's worker shows configs as they were given; what looks like a secret is not for screens.
_SECRET = re.compile(r"password|passwd|secret|token|credential|private.?key|api.?key|jaas", re.IGNORECASE)
_USER_IN_URL = re.compile(r"(\w+://[^/\s:@]+:)[^/\s@]+@")
HIDDEN = "[hidden]"
_CAUSE = "Caused by: "
# Where Python's trace goes from a cause to what came of it.
_EFFECT = ("The above exception was the direct cause", "During handling of the above exception")
# A failed stage of a record is told by this; what failed it is its cause.
_WRAPPER = "ToleranceExceeded"
_PACKAGE = re.compile(r"^(?:[\w$]+\.)+(?=[A-Z][\w$]*(?:: |$))")


class TaskTold(NamedTuple):
    """One task."""

    number: int
    state: str
    worker: str
    trace: str = ""


class ConnectorTold(NamedTuple):
    """One connector; ``config`` as REST has it, secrets and all."""

    name: str
    type: str
    state: str
    worker: str
    trace: str
    tasks: tuple[TaskTold, ...]
    config: Mapping[str, str]

    @property
    def kind(self) -> str:
        """The last part of its class's name."""
        return self.config.get("connector.class", "").rpartition(".")[2]

    @property
    def running(self) -> int:
        """How many tasks run."""
        return sum(each.state == "RUNNING" for each in self.tasks)

    @property
    def failed(self) -> int:
        """How many tasks have failed."""
        return sum(each.state == "FAILED" for each in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """For scripts; without configs."""
        return {
            "name": self.name,
            "type": self.type,
            "class": self.config.get("connector.class"),
            "state": self.state,
            "worker_id": self.worker,
            "trace": self.trace or None,
            "tasks": [
                {"id": each.number, "state": each.state, "worker_id": each.worker, "trace": each.trace or None}
                for each in self.tasks
            ],
        }


def connector_told(status: Mapping[str, Any], info: Mapping[str, Any]) -> ConnectorTold:
    """From ``/connectors/NAME/status`` and ``/connectors/NAME``, either of which may be ``{}``.

    Raises:
        ValueError: it is something else.
    """
    try:
        connector = status.get("connector") or {}
        tasks = tuple(
            TaskTold(int(each["id"]), str(each["state"]), str(each.get("worker_id") or ""), each.get("trace") or "")
            for each in status.get("tasks") or ()
        )
        config = {str(name): str(value) for name, value in (info.get("config") or {}).items() if value is not None}
        return ConnectorTold(
            str(status.get("name") or info.get("name") or ""),
            str(status.get("type") or info.get("type") or "unknown"),
            str(connector.get("state") or "UNASSIGNED"),
            str(connector.get("worker_id") or ""),
            str(connector.get("trace") or ""),
            tuple(sorted(tasks)),
            config,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no connector's state: {error!r}") from None


def problems_of(one: ConnectorTold) -> list[str]:
    """A sentence for each part that has failed."""
    found = [f"the connector failed: {first_line(one.trace)}"] if one.state == "FAILED" else []
    return found + [
        f"task {each.number} failed: {first_line(each.trace)}" for each in one.tasks if each.state == "FAILED"
    ]


def first_line(trace: str | None) -> str:
    """What a trace says in one line. Java's tells the last cause behind ``Caused by``. Python's tells in its last line
    what came of all causes, in words for people; only what merely says that a record failed gives way to its cause."""
    lines = [each.strip() for each in (trace or "").splitlines() if each.strip()]
    if not lines:
        return ""
    if lines[0].startswith("Traceback "):
        causes = [lines[at - 1] for at, each in enumerate(lines) if at and each.startswith(_EFFECT)] + [lines[-1]]
        told = [_PACKAGE.sub("", each) for each in causes]
        return next((each for each in reversed(told) if not each.startswith(_WRAPPER)), told[-1])
    causes = [each.removeprefix(_CAUSE) for each in lines if each.startswith(_CAUSE)]
    # Where a class is says nothing to whoever has one line to read.
    return _PACKAGE.sub("", causes[-1] if causes else lines[0])


def hidden(config: Mapping[str, str]) -> dict[str, str]:
    """Configs for eyes: without passwords and the like; references (``${…}``) stay."""
    return {
        name: HIDDEN
        if _SECRET.search(name) and value and "${" not in value
        else _USER_IN_URL.sub(rf"\1{HIDDEN}@", value)
        for name, value in config.items()
    }
