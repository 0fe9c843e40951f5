"""One poll of a source's task, whatever becomes of what it gives."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from engine.connect.connector import SourceTask
from engine.connect.errors import RetriableError
from engine.connect.records import SourceRecord
from engine.connect.runtime.task_control import TaskControl

log = logging.getLogger(__name__)

_IDLE_S = 0.05


def poll_task(task: SourceTask, control: TaskControl) -> Sequence[SourceRecord] | None:
    """What is new; None where there is nothing, or where the task wants to be asked again.

    Raises whatever else the task raises.
    """
    began = time.monotonic()
    try:
        records = task.poll()
    except RetriableError as error:
        log.warning("%s failed to poll records from SourceTask. Will retry operation.", control.name, exc_info=error)
        records = None
    if not records and time.monotonic() - began < _IDLE_S:
        # A task that has nothing should have waited; this one did not.
        control.wait(_IDLE_S)
    return records
