from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.connect.converters.converter import Converter
from engine.connect.errors import DataError, RetriableError
from engine.connect.runtime.error_operator import ErrorOperator, Failed, Stage, ToleranceExceeded


class Reports:
    def __init__(self) -> None:
        self.failures: list[Failed] = []

    def report(self, failed: Failed) -> None:
        self.failures.append(failed)

    def close(self) -> None: ...


class Clock:
    """Time passes in pauses alone."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(round(seconds * 1000))
        self.now_ms += seconds * 1000


def operator(clock: Clock, **given: object) -> ErrorOperator:
    settings = {"retry_timeout_ms": 0, "retry_delay_max_ms": 60_000, "tolerates": False, **given}
    made = ErrorOperator(**settings, now_ms=lambda: clock.now_ms)  # type: ignore[arg-type]
    made._stopped.wait = clock.pause  # type: ignore[assignment,method-assign]
    return made


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [times]

    def call() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "well"

    return call


def test_a_retriable_error_is_tried_again_with_pauses_that_double() -> None:
    clock = Clock()
    error = RetriableError("busy")
    made = operator(clock, retry_timeout_ms=60_000)
    assert made.again("record", Stage.VALUE_CONVERTER, Converter, failing(3, error), error) == (True, "well")
    assert clock.pauses == [300, 600, 1200, 2400]
    assert made.failures == 0


def test_tries_end_with_the_retry_timeout() -> None:
    clock = Clock()
    error = RetriableError("busy")
    made = operator(clock, retry_timeout_ms=1_000, tolerates=True)
    assert made.again("record", Stage.VALUE_CONVERTER, Converter, failing(99, error), error) == (False, None)
    assert clock.pauses == [300, 600, 100]
    assert made.skipped == 1


def test_pauses_stay_below_their_limit() -> None:
    clock = Clock()
    error = RetriableError("busy")
    made = operator(clock, retry_timeout_ms=5_000, retry_delay_max_ms=400, tolerates=True)
    made.again("record", Stage.VALUE_CONVERTER, Converter, failing(99, error), error)
    assert clock.pauses[0] == 300 and max(clock.pauses) <= 400


def test_an_error_that_is_not_retriable_is_not_tried_again() -> None:
    clock = Clock()
    error = DataError("no JSON")
    made = operator(clock, retry_timeout_ms=60_000, tolerates=True)
    reports = Reports()
    made.reporters = [reports]
    assert made.again("record", Stage.VALUE_CONVERTER, Converter, failing(0, error), error) == (False, None)
    assert clock.pauses == []
    (failed,) = reports.failures
    assert (failed.original, failed.stage, failed.error, failed.attempts) == ("record", Stage.VALUE_CONVERTER, error, 1)


def test_without_tolerance_the_failure_is_reported_and_ends_the_task() -> None:
    error = DataError("no JSON")
    made = operator(Clock())
    reports = Reports()
    made.reporters = [reports]
    with pytest.raises(ToleranceExceeded, match="Tolerance exceeded") as raised:
        made.again("record", Stage.VALUE_CONVERTER, Converter, failing(0, error), error)
    assert raised.value.__cause__ is error
    assert len(reports.failures) == 1


def test_what_is_not_a_stage_of_the_record_is_tolerated_by_nobody() -> None:
    error = DataError("the connector's own fault")
    made = operator(Clock(), tolerates=True)
    with pytest.raises(ToleranceExceeded, match="Unhandled"):
        made.again("record", Stage.TASK_PUT, Converter, failing(0, error), error)
