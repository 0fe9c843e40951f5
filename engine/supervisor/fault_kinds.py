"""The faults that last on a supervised cluster, and what is asked of them. Pure.

kill              SIGKILL; healed, it is started
pause             SIGSTOP; healed, SIGCONT
cut               nothing passes between the broker and the other end
delay             everything between them is heard later
slow fsync        each fsync of the broker's disk takes longer
failing fsync     each fsync fails (EIO): the log directory goes offline, and with its last one the broker, as in Kafka
disk full         nothing can be written (ENOSPC), with the same consequence
crash loop        SIGKILL each time it serves, so many times; the restart policy starts it again
rolling restart   brokers stop and start one after the other, each when every replica is in sync, the controller last
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

OTHERS, CLIENTS = "others", "clients"
"""The other end of a link: all other brokers, or everybody who is no broker."""

_MOST_MS = 60_000.0
_LONGEST_MS = 3_600_000.0
_MOST_TIMES = 20
# The probe's topic has at most three.
_MOST_REPLICAS = 3


class FaultKind(NamedTuple):
    """What a kind needs to be told: ``by`` (milliseconds), ``other`` (an end of a link), ``times``."""

    name: str
    takes: frozenset[str] = frozenset()
    is_of_disk: bool = False


KINDS: dict[str, FaultKind] = {
    each.name: each
    for each in (
        FaultKind("kill"),
        FaultKind("pause"),
        FaultKind("cut", frozenset({"other"})),
        FaultKind("delay", frozenset({"other", "by"})),
        FaultKind("slow fsync", frozenset({"by"}), is_of_disk=True),
        FaultKind("failing fsync", is_of_disk=True),
        FaultKind("disk full", is_of_disk=True),
        FaultKind("crash loop", frozenset({"times"})),
        FaultKind("rolling restart"),
    )
}
# It is done to all brokers, not to one.
OF_ALL = ("rolling restart",)
# They end by themselves.
ENDING = ("crash loop", "rolling restart")


class WishError(ValueError):
    """What is wrong with a wish, in a sentence."""


class FaultWish(NamedTuple):
    """A fault that is asked for. ``for_ms`` 0 lasts until it is healed; ``acks`` are the probe's, and ``min_isr`` is
    min.insync.replicas of its topic (0: the broker's default)."""

    kind: str
    broker_id: int
    other: str = ""
    by_ms: float = 0.0
    times: int = 0
    for_ms: float = 0.0
    acks: str = "all"
    min_isr: int = 0

    @property
    def words(self) -> str:
        """As a person would say it."""
        if self.kind == "rolling restart":
            return self.kind
        if self.kind == "cut":
            said = f"cut broker {self.broker_id} from {_end(self.other)}"
        elif self.kind == "delay":
            said = f"delay broker {self.broker_id} and {_end(self.other)} by {self.by_ms:g} ms"
        elif self.kind == "slow fsync":
            said = f"slow fsync of broker {self.broker_id} by {self.by_ms:g} ms"
        elif self.kind == "crash loop":
            said = f"crash loop of broker {self.broker_id}, {self.times} times"
        else:
            of = " of" if self.kind in ("failing fsync", "disk full") else ""
            said = f"{self.kind}{of} broker {self.broker_id}"
        return f"{said} for {self.for_ms / 1000:g} s" if self.for_ms and self.kind not in ENDING else said

    def as_arguments(self) -> dict[str, Any]:
        """Of the ``fault`` command."""
        return self._asdict()


def _end(other: str) -> str:
    return f"broker {other}" if other.isdigit() else f"the {other}"


def read_wish(arguments: Mapping[str, Any], broker_ids: Collection[int]) -> FaultWish:
    """What a ``fault`` command asks for.

    Raises:
        WishError: it makes no sense, with the remedy.
    """
    kind = KINDS.get(str(arguments.get("kind")))
    if kind is None:
        raise WishError(f"there is no fault {arguments.get('kind')!r}: it is one of {', '.join(KINDS)}")
    broker_id = arguments.get("broker_id")
    if kind.name in OF_ALL:
        broker_id = min(broker_ids)
    if not isinstance(broker_id, int) or broker_id not in broker_ids:
        raise WishError(f"there is no broker {broker_id}; the cluster has {', '.join(map(str, sorted(broker_ids)))}")
    other = str(arguments.get("other") or "") if "other" in kind.takes else ""
    ends = [str(each) for each in sorted(broker_ids) if each != broker_id]
    if "other" in kind.takes and other not in (*ends, OTHERS, CLIENTS):
        raise WishError(f"{kind.name} is between broker {broker_id} and one of {', '.join((*ends, OTHERS, CLIENTS))}")
    by_ms = _number(arguments, "by_ms", 1, _MOST_MS, "milliseconds") if "by" in kind.takes else 0.0
    times = _number(arguments, "times", 1, _MOST_TIMES, "kills") if "times" in kind.takes else 0.0
    if times != int(times):
        raise WishError(f"times is a whole number, not {times:g}")
    for_ms = _number(arguments, "for_ms", 0, _LONGEST_MS, "milliseconds") if arguments.get("for_ms") else 0.0
    acks = str(arguments.get("acks") or "all")
    if acks not in ("all", "1", "0"):
        raise WishError("acks is all, 1 or 0")
    min_isr = arguments.get("min_isr") or 0
    if not isinstance(min_isr, int) or not 0 <= min_isr <= _MOST_REPLICAS:
        raise WishError(f"min_isr is a number of replicas, 1 to {_MOST_REPLICAS}, not {min_isr!r}")
    return FaultWish(
        kind.name, broker_id, other, by_ms, int(times), 0.0 if kind.name in ENDING else for_ms, acks, min_isr
    )


def _number(arguments: Mapping[str, Any], name: str, low: float, high: float, unit: str) -> float:
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise WishError(f"{name} is a number of {unit}, {low:g} to {high:g}, not {value!r}")
    return float(value)
