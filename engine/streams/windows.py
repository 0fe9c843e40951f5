"""Windows of time: of fixed size, sliding, sessions, and around a record in a join. All times in ms."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.streams.errors import TopologyError

_MAX_TIME = 2**63 - 1


def _not_negative(name: str, value: int) -> None:
    if value < 0:
        raise TopologyError(f"{name} must not be negative, it is {value}")


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of a fixed size: what ``windowed_by`` takes."""

    size_ms: int
    advance_ms: int
    grace_ms: int = 0

    def windows_for(self, timestamp: int) -> range:
        """The starts of the windows that a time falls into, earliest first."""
        first = max(0, timestamp - self.size_ms + self.advance_ms) // self.advance_ms * self.advance_ms
        return range(first, timestamp + 1, self.advance_ms)


class TimeWindows(Windows):
    """Tumbling windows, or hopping ones (``advance_by``), from epoch on (``TimeWindows``)."""

    __slots__ = ()

    @staticmethod
    def of_size_with_no_grace(size_ms: int) -> TimeWindows:
        """Windows that close when time passes their end."""
        return TimeWindows.of_size_and_grace(size_ms, 0)

    @staticmethod
    def of_size_and_grace(size_ms: int, grace_ms: int) -> TimeWindows:
        """Windows that take late records for ``grace_ms`` after their end."""
        if size_ms <= 0:
            raise TopologyError(f"Window size (sizeMs) must be larger than zero, it is {size_ms}")
        _not_negative("Grace period", grace_ms)
        return TimeWindows(size_ms, size_ms, grace_ms)

    def advance_by(self, advance_ms: int) -> TimeWindows:
        """Windows that begin every ``advance_ms`` and overlap."""
        if not 0 < advance_ms <= self.size_ms:
            raise TopologyError(
                f"Window advancement interval should be more than zero and less than window duration which is "
                f"{self.size_ms} ms, but given advancement interval is: {advance_ms} ms"
            )
        return TimeWindows(self.size_ms, advance_ms, self.grace_ms)


class UnlimitedWindows(Windows):
    """One window for each key, from ``start`` to the end of time (``UnlimitedWindows``)."""

    __slots__ = ()

    @staticmethod
    def of(start_ms: int = 0) -> UnlimitedWindows:
        """The window that begins at ``start_ms``."""
        _not_negative("Window start time", start_ms)
        return UnlimitedWindows(_MAX_TIME, start_ms, 0)

    def windows_for(self, timestamp: int) -> range:
        """The one window, unless the time is before it."""
        start = self.advance_ms
        return range(start, start + 1) if timestamp >= start else range(0)


@dataclass(frozen=True, slots=True)
class SlidingWindows:
    """A window for every set of records of a key that are within ``difference_ms`` of each other, ends inclusive."""

    difference_ms: int
    grace_ms: int

    @staticmethod
    def of_time_difference_with_no_grace(difference_ms: int) -> SlidingWindows:
        """Windows that close when time passes their end."""
        return SlidingWindows.of_time_difference_and_grace(difference_ms, 0)

    @staticmethod
    def of_time_difference_and_grace(difference_ms: int, grace_ms: int) -> SlidingWindows:
        """Windows that take late records for ``grace_ms`` after their end."""
        _not_negative("Window time difference", difference_ms)
        _not_negative("Window grace period", grace_ms)
        return SlidingWindows(difference_ms, grace_ms)


@dataclass(frozen=True, slots=True)
class SessionWindows:
    """Sessions: records of a key with no more than ``gap_ms`` of quiet between them."""

    gap_ms: int
    grace_ms: int

    @staticmethod
    def of_inactivity_gap_with_no_grace(gap_ms: int) -> SessionWindows:
        """Sessions that close when time passes their end."""
        return SessionWindows.of_inactivity_gap_and_grace(gap_ms, 0)

    @staticmethod
    def of_inactivity_gap_and_grace(gap_ms: int, grace_ms: int) -> SessionWindows:
        """Sessions that take late records for ``grace_ms`` after their end."""
        if gap_ms <= 0:
            raise TopologyError(f"Gap time cannot be zero or negative, it is {gap_ms}")
        _not_negative("Grace period", grace_ms)
        return SessionWindows(gap_ms, grace_ms)


@dataclass(frozen=True, slots=True)
class JoinWindows:
    """How far apart two records of a stream join may be: ``-before_ms`` to ``after_ms``, both inclusive."""

    before_ms: int
    after_ms: int
    grace_ms: int

    @staticmethod
    def of_time_difference_with_no_grace(difference_ms: int) -> JoinWindows:
        """As far before as after, and no late records."""
        return JoinWindows.of_time_difference_and_grace(difference_ms, 0)

    @staticmethod
    def of_time_difference_and_grace(difference_ms: int, grace_ms: int) -> JoinWindows:
        """As far before as after; late records for ``grace_ms``."""
        _not_negative("Time difference", difference_ms)
        _not_negative("Grace period", grace_ms)
        return JoinWindows(difference_ms, difference_ms, grace_ms)

    def before(self, before_ms: int) -> JoinWindows:
        """The other record may be this much earlier (negative: must be later)."""
        return self._checked(replace(self, before_ms=before_ms))

    def after(self, after_ms: int) -> JoinWindows:
        """The other record may be this much later (negative: must be earlier)."""
        return self._checked(replace(self, after_ms=after_ms))

    @staticmethod
    def _checked(windows: JoinWindows) -> JoinWindows:
        if -windows.before_ms > windows.after_ms:
            raise TopologyError("Window start time must not be after window end time")
        return windows

    @property
    def size_ms(self) -> int:
        """The whole width."""
        return self.before_ms + self.after_ms
