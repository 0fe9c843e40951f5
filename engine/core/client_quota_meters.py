"""Which quota holds for a client, how fast it is, and how long it has to wait (KIP-219, KIP-257, KIP-599).

Kafka: ClientQuotaManager, DefaultQuotaCallback, Rate, TokenBucket. Pure: the clock's readings come as arguments.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from engine.core.controller.image import QuotaEntity
from engine.model.errors import ErrorCode, KafkaError

# Meters of clients that were heard of last; Kafka forgets them after an hour of silence.
_MOST_METERS = 10_000


class RateMeter:
    """Units a second over the last ``samples`` windows of ``window_ms``, the newest of which is not over yet."""

    __slots__ = ("_samples", "_started", "bursts", "samples", "window_ms")

    def __init__(self, samples: int, window_ms: float, *, bursts: bool = True) -> None:
        """``bursts``: at first as if all windows but the last were over."""
        self.bursts = bursts
        self.samples = samples
        self.window_ms = window_ms
        self._started: deque[float] = deque()
        self._samples: deque[float] = deque()

    def record(self, units: float, now_ms: float) -> None:
        """So much happened now."""
        self._forget_old(now_ms)
        if not self._started or now_ms - self._started[-1] >= self.window_ms:
            self._started.append(now_ms)
            self._samples.append(0.0)
        self._samples[-1] += units

    def rate(self, now_ms: float) -> float:
        """Units a second."""
        self._forget_old(now_ms)
        return sum(self._samples) / self.measured_ms(now_ms) * 1000

    def measured_ms(self, now_ms: float) -> float:
        """The time that the rate is of."""
        elapsed_ms = now_ms - self._started[0] if self._started else 0.0
        if not self.bursts:
            return max(elapsed_ms, self.window_ms)
        missing = self.samples - 1 - int(elapsed_ms / self.window_ms)
        return elapsed_ms + max(0, missing) * self.window_ms

    def throttle_ms(self, quota: float, now_ms: float) -> int:
        """How long nothing must happen for the rate to fall to the quota; 0 if it is not above."""
        rate = self.rate(now_ms)
        return 0 if rate <= quota else round((rate - quota) / quota * self.measured_ms(now_ms))

    def _forget_old(self, now_ms: float) -> None:
        while self._started and now_ms - self._started[0] >= self.samples * self.window_ms:
            self._started.popleft()
            self._samples.popleft()


class TokenBucket:
    """Units that may be spent at any time, of which as many as the quota come back every second (KIP-599).

    It is full at first, with what the quota gives in all windows; it may be overdrawn once, and gives nothing until it
    is not any more.
    """

    __slots__ = ("_last_ms", "_seconds", "_tokens")

    def __init__(self, samples: int, window_ms: float) -> None:
        self._seconds = samples * window_ms / 1000
        self._tokens = float("inf")
        self._last_ms = 0.0

    def left(self, quota: float, now_ms: float) -> float:
        """Units; below zero if overdrawn."""
        came_back = max(0.0, now_ms - self._last_ms) / 1000 * quota
        self._tokens = min(self._tokens + came_back, quota * self._seconds)
        self._last_ms = now_ms
        return self._tokens

    def spend(self, units: float, quota: float, now_ms: float) -> None:
        """Take so many out, though there be fewer."""
        self._tokens = self.left(quota, now_ms) - units

    def wait_ms(self, quota: float, now_ms: float) -> int:
        """How long until it is overdrawn no more."""
        return round(max(0.0, -self.left(quota, now_ms)) / quota * 1000)


_Meter = TypeVar("_Meter", RateMeter, TokenBucket)


class _ClientQuotas(Generic[_Meter]):
    """One kind of quota (``producer_byte_rate`` say) with the meters of all clients that it holds for."""

    def __init__(self, key: str, samples: int, window_ms: float, make: Callable[[int, float], _Meter]) -> None:
        self.key = key
        self._window = (samples, window_ms)
        self._make: Callable[[int, float], _Meter] = make
        self._quotas: dict[tuple[str | None, str | None], float] = {}
        self._meters: OrderedDict[tuple[str | None, str | None], _Meter] = OrderedDict()

    @property
    def is_used(self) -> bool:
        """Whether any such quota is set."""
        return bool(self._quotas)

    def use(self, quotas: Mapping[QuotaEntity, Mapping[str, float]]) -> None:
        """Hold these quotas from now on."""
        self._quotas = {}
        for entity, values in quotas.items():
            names = {kind: _DEFAULT if name is None else name for kind, name in entity}
            if self.key in values and "ip" not in names:
                self._quotas[names.get("user"), names.get("client-id")] = values[self.key]

    def quota_of(self, user: str, client_id: str) -> tuple[float, tuple[str | None, str | None]] | None:
        """The quota that holds for a client, and whom it shares it with: (user, client), where None is everyone."""
        for named_user, named_client in (
            (user, client_id),
            (user, _DEFAULT),
            (user, None),
            (_DEFAULT, client_id),
            (_DEFAULT, _DEFAULT),
            (_DEFAULT, None),
            (None, client_id),
            (None, _DEFAULT),
        ):
            quota = self._quotas.get((named_user, named_client))
            if quota is not None:
                shared = (None if named_user is None else user, None if named_client is None else client_id)
                return quota, shared
        return None

    def meter_of(self, shared: tuple[str | None, str | None]) -> _Meter:
        """The meter of those who share a quota."""
        meter = self._meters.get(shared)
        if meter is None:
            if len(self._meters) >= _MOST_METERS:
                self._meters.popitem(last=False)
            meter = self._meters[shared] = self._make(*self._window)
        else:
            self._meters.move_to_end(shared)
        return meter


class ClientQuotaMeters(_ClientQuotas[RateMeter]):
    """A quota of something a second."""

    def __init__(self, key: str, samples: int, window_ms: float) -> None:
        super().__init__(key, samples, window_ms, RateMeter)

    def burst_of(self, user: str, client_id: str) -> float:
        """Units that fit the windows that are over, infinity without a quota: more is never let through at one time."""
        found = self.quota_of(user, client_id)
        samples, window_ms = self._window
        return float("inf") if found is None else found[0] * (samples - 1) * window_ms / 1000

    def record(self, user: str, client_id: str, units: float, now_ms: float) -> int:
        """So much happened now; how long (ms) the client has to wait before more may."""
        found = self.quota_of(user, client_id)
        if found is None:
            return 0
        quota, shared = found
        meter = self.meter_of(shared)
        meter.record(units, now_ms)
        return meter.throttle_ms(quota, now_ms)


class MutationQuotas(_ClientQuotas[TokenBucket]):
    """The quota of partitions made and removed (``controller_mutation_rate``; ControllerMutationQuotaManager)."""

    def __init__(self, key: str, samples: int, window_ms: float) -> None:
        super().__init__(key, samples, window_ms, TokenBucket)

    def charge(self, user: str, client_id: str, now_ms: float, *, is_strict: bool) -> MutationCharge | None:
        """What a client's request pays with; None if no quota holds for it."""
        found = self.quota_of(user, client_id)
        if found is None:
            return None
        quota, shared = found
        return MutationCharge(self.meter_of(shared), quota, now_ms, is_strict=is_strict)


class MutationCharge:
    """What one request pays with, for each topic by its partitions.

    ``is_strict``: what is overdrawn gives nothing. Otherwise everything is done, and the client waits afterwards.
    """

    def __init__(self, bucket: TokenBucket, quota: float, now_ms: float, *, is_strict: bool) -> None:
        self._bucket = bucket
        self._quota = quota
        self._now_ms = now_ms
        self._is_strict = is_strict
        self.throttle_ms = 0

    def __call__(self, partitions: int) -> None:
        """Pay for a topic.

        Raises:
            KafkaError: THROTTLING_QUOTA_EXCEEDED, not before ``throttle_ms``.
        """
        if self._is_strict and (wait_ms := self._bucket.wait_ms(self._quota, self._now_ms)):
            self.throttle_ms = wait_ms
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, "The throttling quota has been exceeded.")
        self._bucket.spend(partitions, self._quota, self._now_ms)
        if not self._is_strict:
            self.throttle_ms = self._bucket.wait_ms(self._quota, self._now_ms)


# No name of a client: Kafka's own for the default entity.
_DEFAULT = "<default>"
