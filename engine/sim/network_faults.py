"""The network between machines: cut one way, both ways or to a bridge, slow, resetting, silent, holding messages."""

from __future__ import annotations

from collections.abc import Sequence

from engine.sim.fault_kit import Act, FaultKit
from engine.sim.frame_faults import FrameFault
from engine.sim.transactions import PREFIX as TRANSACTIONAL
from engine.wire.apis import ApiKey

# What is held: any request, those that change something more often.
_CLIENT_KEYS = (
    ApiKey.PRODUCE,
    ApiKey.FETCH,
    ApiKey.OFFSET_COMMIT,
    ApiKey.JOIN_GROUP,
    ApiKey.SYNC_GROUP,
    ApiKey.HEARTBEAT,
    ApiKey.LEAVE_GROUP,
    ApiKey.INIT_PRODUCER_ID,
    ApiKey.CREATE_TOPICS,
    ApiKey.DELETE_TOPICS,
    ApiKey.CREATE_PARTITIONS,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS,
    ApiKey.ELECT_LEADERS,
)
_BROKER_KEYS = (
    ApiKey.FETCH,
    ApiKey.FETCH_SNAPSHOT,
    ApiKey.VOTE,
    ApiKey.BEGIN_QUORUM_EPOCH,
    ApiKey.END_QUORUM_EPOCH,
    ApiKey.ALTER_PARTITION,
    ApiKey.BROKER_REGISTRATION,
    ApiKey.BROKER_HEARTBEAT,
    ApiKey.ALLOCATE_PRODUCER_IDS,
    ApiKey.CONTROLLER_REGISTRATION,
    ApiKey.OFFSET_FOR_LEADER_EPOCH,
    ApiKey.ASSIGN_REPLICAS_TO_DIRS,
)
# What a client that got no answer sends again over another connection. Not Produce, but of idempotent producers; and no
# OffsetCommit: a second copy that comes late takes the offset back, which Kafka fences by generation only.
_REPEATED_KEYS = tuple(each for each in _CLIENT_KEYS if each not in (ApiKey.PRODUCE, ApiKey.OFFSET_COMMIT))
_IDEMPOTENT, _CONTENDER = "idempotent", "contender"
# Where there are transactions: late and repeated, they must be without effect.
_TRANSACTION_KEYS = (ApiKey.PRODUCE, ApiKey.END_TXN, ApiKey.TXN_OFFSET_COMMIT, ApiKey.INIT_PRODUCER_ID)
_TRANSACTION_BROKER_KEYS = (ApiKey.ADD_PARTITIONS_TO_TXN, ApiKey.WRITE_TXN_MARKERS)
# A fault that lay in wait so long for its frame is given up.
_ARMED_S = 10.0


class NetworkFaults:
    """Acts by their names in :data:`engine.sim.options.FAULTS`."""

    def __init__(self, kit: FaultKit) -> None:
        self._kit = kit
        self._fabric = kit.cluster.fabric

    def acts(self) -> dict[str, Act]:
        """Name to act."""
        return {
            "cut": self._cut,
            "bridge": self._bridge,
            "reset": self._reset,
            "half-open": self._half_open,
            "mute": self._mute,
            "hold": self._hold,
            "repeat": self._repeat,
            "hiccup": self._hiccup,
        }

    def _two(self) -> tuple[str, str]:
        """Two brokers' machines, or now and then a client's and a broker's."""
        kit = self._kit
        names = kit.broker_names()
        if kit.rng.random() < 0.25 or len(names) < 2:
            return kit.rng.choice(kit.cluster.client_machines), kit.rng.choice(names)
        first, second = kit.rng.sample(names, 2)
        return first, second

    def _cut(self) -> str:
        kit = self._kit
        first, second = self._two()
        pairs = [(first, second)]
        kind = kit.rng.random()
        if kind < 0.4:
            pairs.append((second, first))
        elif kind < 0.6:
            # One machine alone, cut off from all others.
            names = [each for each in kit.broker_names() if each != first]
            pairs = [pair for each in names for pair in ((first, each), (each, first))]
        elif kind < 0.7:
            # One direction only: it hears everybody, and nobody hears it; or the other way around.
            names = [each for each in kit.broker_names() if each != first]
            is_deaf = kit.rng.random() < 0.5
            pairs = [(each, first) if is_deaf else (first, each) for each in names]
        return self._cut_pairs(pairs, kit.rng.choice((0.5, 5.0, 20.0)))

    def _bridge(self) -> str:
        """Two halves that do not see each other, and one broker that sees both."""
        kit = self._kit
        names = kit.broker_names()
        if len(names) < 3:
            return ""
        kit.rng.shuffle(names)
        bridge, rest = names[0], names[1:]
        half = len(rest) // 2
        pairs = [pair for one in rest[:half] for other in rest[half:] for pair in ((one, other), (other, one))]
        return f"{bridge} is the bridge: {self._cut_pairs(pairs, kit.rng.choice((2.0, 10.0, 20.0)))}"

    def _cut_pairs(self, pairs: Sequence[tuple[str, str]], longest_s: float) -> str:
        for source, target in pairs:
            self._fabric.cut(source, target)

        def heal() -> None:
            for source, target in pairs:
                self._fabric.heal(source, target)

        delay_s = self._kit.later(longest_s, heal)
        return f"cut {' '.join(f'{source}>{target}' for source, target in pairs)} for {delay_s:.2f} s"

    def _reset(self) -> str:
        first, second = self._two()
        broken = self._fabric.reset_connections(first, second)
        return f"reset {broken} connections between {first} and {second}" if broken else ""

    def _half_open(self) -> str:
        """A middlebox forgets a connection: nothing arrives any more; one end may be told that the other is gone."""
        kit = self._kit
        first, second = self._two()
        streams = self._fabric.streams_between(first, second)
        if not streams:
            return ""
        stream = kit.rng.choice(streams)
        stream.lose_in_network()
        told = ""
        if kit.rng.random() < 0.5:
            stream.on_reset()
            told = f", {first} is told"
        return f"half-open connection between {first} and {second}{told}"

    def _mute(self) -> str:
        """A broker that accepts connections and never answers."""
        kit = self._kit
        name = kit.rng.choice(kit.broker_names())
        self._fabric.mute(name)
        delay_s = kit.later(kit.rng.choice((1.0, 6.0, 15.0)), lambda: self._fabric.unmute(name))
        return f"mute {name} for {delay_s:.2f} s"

    def _hold(self) -> str:
        """One request of a client or of a broker stays on its way until after everybody gave up on it."""
        kit = self._kit
        is_client = kit.rng.random() < 0.5
        keys = kit.rng.sample(_CLIENT_KEYS if is_client else _BROKER_KEYS, 3)
        source = kit.rng.choice(kit.cluster.client_machines if is_client else kit.broker_names())
        keys += self._of_transactions(source)
        hold_s = kit.rng.uniform(0.05, kit.rng.choice((0.5, 4.0, 15.0)))
        return self._arm(FrameFault(keys, lambda what: kit.struck("hold", what), source=source, hold_s=hold_s))

    def _repeat(self) -> str:
        """One request comes twice, the second time over another connection."""
        kit = self._kit
        is_client = kit.rng.random() < 0.5
        # What contenders ask for happens once, or never: that is how it is judged.
        clients = [each for each in kit.cluster.client_machines if not each.startswith(_CONTENDER)]
        names = clients if is_client else kit.broker_names()
        source = kit.rng.choice(names)
        keys: list[ApiKey]
        if is_client and source.startswith(_IDEMPOTENT):
            keys = [ApiKey.PRODUCE, ApiKey.INIT_PRODUCER_ID]
        else:
            keys = kit.rng.sample(_REPEATED_KEYS if is_client else _BROKER_KEYS, 3)
            keys += self._of_transactions(source)
        repeat_s = kit.rng.uniform(0.0, kit.rng.choice((0.01, 1.0, 10.0)))
        hold_s = kit.rng.uniform(0.05, 4.0) if kit.rng.random() < 0.3 else None
        fault = FrameFault(
            keys, lambda what: kit.struck("repeat", what), source=source, repeat_s=repeat_s, hold_s=hold_s
        )
        return self._arm(fault)

    def _of_transactions(self, source: str) -> Sequence[ApiKey]:
        if source.startswith(TRANSACTIONAL):
            return _TRANSACTION_KEYS
        return () if source in self._kit.cluster.client_machines else _TRANSACTION_BROKER_KEYS

    def _arm(self, fault: FrameFault) -> str:
        """It is counted and told when it strikes."""
        self._fabric.arm(fault)
        self._kit.cluster.loop.call_later(_ARMED_S, lambda: self._fabric.disarm(fault))
        return ""

    def _hiccup(self) -> str:
        timing = self._fabric.timing
        before, timing.hiccup_chance = timing.hiccup_chance, 0.05
        delay_s = self._kit.later(3.0, lambda: setattr(timing, "hiccup_chance", before))
        return f"hiccups for {delay_s:.2f} s"
