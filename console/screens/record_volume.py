"""The part of Records that shows records over time, and goes where one points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from console.gateway import GatewayError, ReadFrom, Start
from console.viewmodel.volume import (
    EARLIEST,
    LATEST,
    OLDEST,
    YOUNGEST,
    Answers,
    TimeSpan,
    Volume,
    Window,
    span_of,
    volume_of,
    window_of,
)
from engine.model.topic_partition import TopicPartition

if TYPE_CHECKING:
    from console.gateway import Gateway

# While one looks at a log that grows, it is asked again so often.
REFRESH_MS = 10_000


class RecordVolume:
    """Asks for offsets by times, and remembers what does not change: an offset that was found stays the first of its
    time, whatever is written later."""

    def __init__(self, topics: tuple[str, ...], partitions: Iterable[int] | None) -> None:
        self._topics = topics
        self._partitions = None if partitions is None else tuple(partitions)
        self._found: dict[int, dict[TopicPartition, tuple[int, int]]] = {}
        # Of a part that was looked at more closely; the whole log otherwise.
        self.zoom: TimeSpan | None = None
        self.volume: Volume | None = None
        self.problem = ""
        self.is_asking = False
        self.asked_at_ms = 0.0

    async def ask(self, gateway: Gateway, room: int) -> None:
        """Count anew; what is wrong is in :attr:`problem`, what was counted before stays."""
        self.is_asking = True
        try:
            self.volume = await self._counted(gateway, room)
            self.problem = ""
        except GatewayError as error:
            self.problem = str(error)
        finally:
            self.is_asking = False

    async def _counted(self, gateway: Gateway, room: int) -> Volume | None:
        """Raises: GatewayError."""
        places = await self._places(gateway)
        asked = (OLDEST, YOUNGEST, EARLIEST, LATEST)
        oldest, youngest, starts, ends = await gateway.bulk.offsets_for_times(places, asked)
        if not ends:
            raise GatewayError("no partition's leader answers")
        # Those that do not answer now are not waited for again and again.
        places = [place for place in places if place in ends]
        span = span_of(oldest, youngest)
        if span is None:
            return None
        window = window_of(self.zoom or span, room)
        begins = await self._begins(gateway, window, places)
        if self.zoom is not None:
            # The window ends before the log does.
            after = window.first_ms + window.number * window.step_ms
            (beyond,) = await gateway.bulk.offsets_for_times(places, (after,))
            ends = {place: beyond[place] if beyond.get(place, (-1, -1))[0] >= 0 else end for place, end in ends.items()}
        return volume_of(window, begins, starts, ends, len(await self._places(gateway)))

    async def _begins(self, gateway: Gateway, window: Window, places: list[TopicPartition]) -> list[Answers]:
        missing = [
            time_ms
            for time_ms in window.times_ms
            if any(self._found.get(time_ms, {}).get(place, (-1, -1))[0] < 0 for place in places)
        ]
        wanted = set(window.times_ms)
        self._found = {time_ms: found for time_ms, found in self._found.items() if time_ms in wanted}
        if missing:
            answers = await gateway.bulk.offsets_for_times(places, missing)
            self._found.update(zip(missing, answers, strict=True))
        return [self._found[time_ms] for time_ms in window.times_ms]

    async def _places(self, gateway: Gateway) -> list[TopicPartition]:
        places: list[TopicPartition] = []
        for topic in self._topics:
            number = await gateway.bulk.partition_count(topic)
            wanted = range(number) if self._partitions is None else self._partitions
            places += [TopicPartition(topic, each) for each in wanted if each < number]
        return places

    # -- where one is, and goes -----------------------------------------------------------------------------------

    def bar_at(self, time_ms: int | None) -> int | None:
        """The bar of a record's time."""
        return None if self.volume is None or time_ms is None else self.volume.window.bar_of(time_ms)

    def place_of(self, bar: int) -> ReadFrom:
        """Where a bar begins."""
        assert self.volume is not None
        return ReadFrom(Start.TIMESTAMP, self.volume.window.times_ms[bar])

    def closer(self, bar: int) -> bool:
        """Look at a bar and its neighbours; whether there is anything to see closer."""
        if self.volume is None or self.volume.window.step_ms <= 1:
            return False
        window = self.volume.window
        first = window.first_ms + (bar - 1) * window.step_ms
        self.zoom = TimeSpan(max(0, first), first + 3 * window.step_ms - 1)
        return True
