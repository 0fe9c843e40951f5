"""A cluster of real brokers in this process, with the faults that a test wants.

The brokers are those that ``kconsole up`` starts, code, wire and files alike; each has a thread and an event loop of
its own (:mod:`engine.testing.broker_thread` says why) and reaches the others over loopback TCP that can be cut
(:mod:`engine.testing.network`). Every method is synchronous and may be called from a test of any kind, from
asynchronous ones too: the brokers need nothing of the caller's event loop. Most take milliseconds; ``stop`` and the
``wait_…`` methods can take seconds, and asynchronous tests call them with ``asyncio.to_thread``.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, wait
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

from engine.client.errors import ClientError
from engine.core.controller.image import MetadataImage
from engine.model.broker_config import BrokerConfig
from engine.model.errors import ErrorCode
from engine.testing.broker_thread import BrokerState, BrokerThread
from engine.testing.directory import ClusterDirectory
from engine.testing.errors import KafkaClusterError, KafkaClusterTimeout
from engine.testing.network import Address, BrokerNetwork, Limbo, Pair, Ports
from engine.testing.settings import broker_properties, config_texts, voter_ids
from engine.testing.topics import Topic, topics_of
from engine.wire.messages.create_topics_request import CreateTopicsRequest
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState

T = TypeVar("T")

_HOST = "127.0.0.1"
_POLL_S = 0.002
_CREATE_TOPICS_VERSION = 7
_DELETE_TOPICS_VERSION = 6
_ASK_TIMEOUT_MS = 2_000
# The answers that another try may change.
_PASSING = frozenset((ErrorCode.NOT_CONTROLLER, ErrorCode.REQUEST_TIMED_OUT))


class ClusterBroker:
    """One of the cluster's brokers, whatever it is doing."""

    def __init__(self, resources: _Resources, broker_id: int) -> None:
        self._resources = resources
        self.broker_id = broker_id
        self.host, self.port = resources.addresses[broker_id]

    @property
    def address(self) -> str:
        """``host:port`` for clients; the same for the whole life of the cluster."""
        return f"{self.host}:{self.port}"

    @property
    def state(self) -> BrokerState:
        """What it is doing."""
        thread = self._resources.threads.get(self.broker_id)
        return BrokerState.STOPPED if thread is None else thread.state

    @property
    def log_dir(self) -> str:
        """Its ``log.dirs``: Kafka's own files."""
        return self._resources.directory.log_dir(self.broker_id)

    def __repr__(self) -> str:
        return f"<broker {self.broker_id} at {self.address}, {self.state.value}>"


class _Resources:
    """What must be given back. It does not know the cluster, so that a forgotten cluster is closed as well."""

    def __init__(self, broker_ids: list[int], data_dir: str | None) -> None:
        self.process = os.getpid()
        self.ports = Ports()
        self.limbo = Limbo()
        self.threads: dict[int, BrokerThread] = {}
        self.directory = ClusterDirectory(data_dir)
        try:
            self.addresses = {each: self.ports.reserve(_HOST) for each in broker_ids}
            self.controller_addresses = {each: self.ports.reserve(_HOST) for each in voter_ids(broker_ids)}
            self.directory.format(broker_ids)
        except BaseException:
            self.ports.close()
            self.directory.close()
            raise

    def close(self) -> None:
        """End all that runs and leave nothing behind, in a child process of the test's nothing at all."""
        if os.getpid() != self.process:
            return
        threads = list(self.threads.values())
        if not self.directory.is_temporary:
            # In order, the leader of the quorum first: the others are still there to take note.
            threads.sort(key=lambda each: each.controller_epoch, reverse=True)
            for thread in threads:
                if thread.state is BrokerState.PAUSED:
                    thread.resume()
                if thread.state is BrokerState.RUNNING:
                    thread.stop(controlled=False)
                    thread.join()
        for thread in threads:
            thread.kill()
        self.limbo.release()
        for thread in threads:
            thread.join()
        self.threads.clear()
        self.ports.close()
        self.directory.close()


class KafkaCluster:
    """Brokers with ids from 1; a context manager, or :meth:`start` and :meth:`close`."""

    def __init__(
        self,
        brokers: int = 3,
        *,
        configs: Mapping[str, object] | None = None,
        broker_configs: Mapping[int, Mapping[str, object]] | None = None,
        topics: Iterable[str | Topic] | Mapping[str, int] = (),
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """Nothing runs before :meth:`start`, but the addresses are known.

        Args:
            configs: of every broker, under Kafka's names.
            broker_configs: of single brokers, by id: ``{1: {"broker.rack": "a"}}``.
            topics: made by the first start: names, :class:`Topic` s, or counts of partitions by name.
            data_dir: where to keep the logs; it stays. Without it they are in a temporary directory.

        Raises:
            ConfigError: a config is wrong.
            ValueError: a config is the cluster's own.
        """
        if brokers < 1:
            raise ValueError("a cluster has at least one broker")
        if not __debug__:
            raise RuntimeError("the brokers' invariants are assertions: do not run them with python -O")
        ids = list(range(1, brokers + 1))
        own = {each: config_texts((broker_configs or {}).get(each)) for each in ids}
        common = config_texts(configs)
        self._topics = topics_of(topics)
        self._lock = threading.RLock()
        self._cuts: frozenset[Pair] = frozenset()
        self._is_closed = False
        self._has_topics = False
        self._resources = resources = _Resources(ids, None if data_dir is None else os.fspath(data_dir))
        # Runs once: by close(), when the cluster is forgotten, or at the end of the process.
        self._closing = weakref.finalize(self, resources.close)
        try:
            self._configs = {
                each: BrokerConfig.from_properties(
                    broker_properties(
                        each,
                        resources.addresses,
                        resources.controller_addresses,
                        resources.directory.log_dir(each),
                        {**common, **own[each]},
                    )
                )
                for each in ids
            }
        except BaseException:
            self._closing()
            raise
        self._nodes: dict[Address, int] = {
            address: each
            for places in (resources.addresses, resources.controller_addresses)
            for each, address in places.items()
        }
        self.brokers: Mapping[int, ClusterBroker] = MappingProxyType(
            {each: ClusterBroker(resources, each) for each in ids}
        )

    def __repr__(self) -> str:
        states = ", ".join(f"{each.broker_id} {each.state.value}" for each in self.brokers.values())
        return f"<KafkaCluster at {self.bootstrap_servers}: {states}>"

    # -- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> KafkaCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, *broker_ids: int, timeout_s: float = 30.0) -> None:
        """Start brokers, without arguments all that do not run; one that runs is left alone.

        Returns when they serve clients and every broker knows every other, with the topics that were asked for. While
        fewer than a majority of the voters run nobody can serve: then it returns at once, and the start that completes
        the majority waits for all of them. It waits for no broker that is cut off from another.

        Raises:
            KafkaClusterTimeout: they do not come up in time. A cluster that was not up before is closed.
            KafkaClusterError: one of them failed.
        """
        with self._lock:
            is_first = not self._resources.threads
            try:
                begun = [self._begin(each) for each in self._ids(broker_ids) if not self._is_up(each)]
                _check(begun)
                if self._has_quorum():
                    self._wait_ready(begun, timeout_s)
            except BaseException:
                if is_first:
                    self.close()
                raise

    def _begin(self, broker_id: int) -> BrokerThread:
        resources = self._resources
        before = resources.threads.get(broker_id)
        if before is not None:
            before.join()
        network = BrokerNetwork(resources.ports, self._nodes, resources.limbo, self._cut_from(broker_id))
        thread = resources.threads[broker_id] = BrokerThread(self._configs[broker_id], network)
        return thread

    def _has_quorum(self) -> bool:
        voters = voter_ids(self.brokers)
        return 2 * sum(self.brokers[each].state is BrokerState.RUNNING for each in voters) > len(voters)

    def _wait_ready(self, begun: list[BrokerThread], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        running = [each for each in self._running() if not self._cut_from(each.broker_id)]
        _, late = wait([each.ready for each in running], timeout_s, FIRST_EXCEPTION)
        _check(begun)
        if late:
            names = ", ".join(str(each.broker_id) for each in running if each.ready in late)
            raise KafkaClusterTimeout(f"not served within {timeout_s:.0f} s by broker {names}")
        ids = [each.broker_id for each in running]
        self._wait_for(
            lambda: (
                [] if all(_knows_brokers(image, ids) for image in self._images()) else ["not every broker is known"]
            ),
            deadline,
        )
        if not self._has_topics:
            self._create(self._topics, deadline, may_exist=True)
            self._has_topics = True

    def close(self) -> None:
        """End everything. Afterwards there is no thread, no socket, no port and no temporary file of it any more.

        With a ``data_dir`` the brokers stop in order; otherwise they are killed, since nobody will ask for their data.
        """
        with self._lock:
            self._is_closed = True
            self._closing()

    def stop(self, broker_id: int, *more: int) -> None:
        """Controlled shutdown: leaders move to other brokers first. Waits for it.

        Raises:
            KafkaClusterError: a broker does not run, or is paused.
        """
        with self._lock:
            threads = [self._running_thread(each) for each in self._ids((broker_id, *more))]
            for thread in threads:
                thread.stop(controlled=True)
            self._gone(threads)

    def kill(self, broker_id: int, *more: int) -> None:
        """As SIGKILL: connections break, nothing more is written, nobody is told. One that is down is left alone."""
        with self._lock:
            threads = [self._resources.threads[each] for each in self._ids((broker_id, *more)) if self._is_up(each)]
            for thread in threads:
                thread.kill()
            self._gone(threads)

    def _gone(self, threads: list[BrokerThread]) -> None:
        resources = self._resources
        for thread in threads:
            thread.join()
            for addresses in (resources.addresses, resources.controller_addresses):
                if thread.broker_id in addresses:
                    resources.ports.hold(addresses[thread.broker_id])

    def pause(self, broker_id: int, *more: int) -> None:
        """As SIGSTOP: it answers nothing, its connections stay open, and new ones are taken by the kernel.

        Raises:
            KafkaClusterError: a broker does not run.
        """
        with self._lock:
            for each in self._ids((broker_id, *more)):
                if self.brokers[each].state is not BrokerState.PAUSED:
                    self._running_thread(each).pause()

    def resume(self, *broker_ids: int) -> None:
        """As SIGCONT, without arguments for all that are paused."""
        with self._lock:
            for broker_id in self._ids(broker_ids):
                if self.brokers[broker_id].state is BrokerState.PAUSED:
                    self._resources.threads[broker_id].resume()

    def isolate(self, broker_id: int, *others: int) -> None:
        """Cut the network between a broker and ``others``, without any between it and all the others.

        Both directions, open connections and new ones; no connection is closed. Clients still reach every broker.
        """
        with self._lock:
            (one,) = self._ids((broker_id,))
            rest = self._ids(others) if others else [each for each in self.brokers if each != one]
            self._cut(self._cuts | {frozenset((one, each)) for each in rest if each != one})

    def heal(self) -> None:
        """Mend the network. What was sent meanwhile arrives."""
        with self._lock:
            self._cut(frozenset())
            self._resources.limbo.release()

    def _cut(self, cuts: frozenset[Pair]) -> None:
        self._ids(())
        self._cuts = cuts
        for broker_id in self.brokers:
            if self._is_up(broker_id):
                self._resources.threads[broker_id].set_cut(self._cut_from(broker_id))

    def _cut_from(self, broker_id: int) -> frozenset[int]:
        return frozenset(each for pair in self._cuts if broker_id in pair for each in pair if each != broker_id)

    @property
    def is_disturbed(self) -> bool:
        """Whether a broker does not run, or the network is cut."""
        return bool(self._cuts) or any(each.state is not BrokerState.RUNNING for each in self.brokers.values())

    def restore(self, timeout_s: float = 30.0) -> None:
        """Undo every fault: mend the network, let paused brokers go on, start those that are down; wait until in sync.

        Raises:
            KafkaClusterTimeout: the cluster does not recover in time.
            KafkaClusterError: a broker fails.
        """
        with self._lock:
            deadline = time.monotonic() + timeout_s
            self.heal()
            self.resume()
            self.start(timeout_s=timeout_s)
            self.wait_until_in_sync(timeout_s=max(0.0, deadline - time.monotonic()))

    # -- addresses ------------------------------------------------------------------------------------------------

    @property
    def bootstrap_servers(self) -> str:
        """``bootstrap.servers`` of any client. It stays the same whatever becomes of the brokers."""
        return ",".join(each.address for each in self.brokers.values())

    @property
    def data_dir(self) -> str:
        """Where the brokers' log directories are."""
        return self._resources.directory.path

    # -- topics ---------------------------------------------------------------------------------------------------

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication_factor: int = -1,
        configs: Mapping[str, object] | None = None,
        *,
        timeout_s: float = 30.0,
    ) -> None:
        """Create a topic. Afterwards every broker that can be reached knows it, with a leader of each partition.

        Raises:
            KafkaClusterError: it exists, or the controller refuses it.
            KafkaClusterTimeout: there is no controller, or no leader.
        """
        topic = Topic(name, partitions, replication_factor, configs or {})
        self._create([topic], time.monotonic() + timeout_s)

    def _create(self, topics: list[Topic], deadline: float, *, may_exist: bool = False) -> None:
        waiting = {topic.name: topic for topic in topics}
        while waiting:
            request = CreateTopicsRequest(
                topics=[topic.creatable() for topic in waiting.values()], timeout_ms=_ASK_TIMEOUT_MS
            )
            answer = self._ask(request, _CREATE_TOPICS_VERSION, deadline)
            for result in answer.topics:
                code = ErrorCode(result.error_code)
                if code is ErrorCode.NONE or (code is ErrorCode.TOPIC_ALREADY_EXISTS and may_exist):
                    waiting.pop(result.name)
                elif code not in _PASSING:
                    raise KafkaClusterError(f"topic {result.name}: {code.name}: {result.error_message}")
            # What timed out may have been created all the same.
            may_exist = True
        names = [topic.name for topic in topics]
        self._wait_for(lambda: self._without_leader(names), deadline)

    def _without_leader(self, names: list[str]) -> list[str]:
        return sorted(
            {f"{name} has no leader" for image in self._images() for name in names if not _leads(image, name)}
        )

    def delete_topic(self, name: str, *, timeout_s: float = 30.0) -> None:
        """Delete a topic with its records. Afterwards no broker that can be reached knows it.

        Raises:
            KafkaClusterError: there is none, or it cannot be deleted.
            KafkaClusterTimeout: there is no controller.
        """
        deadline = time.monotonic() + timeout_s
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=_ASK_TIMEOUT_MS)
        is_repeated = False
        while True:
            code = ErrorCode(self._ask(request, _DELETE_TOPICS_VERSION, deadline).responses[0].error_code)
            if code is ErrorCode.NONE or (code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and is_repeated):
                break
            if code not in _PASSING:
                raise KafkaClusterError(f"topic {name} cannot be deleted: {code.name}")
            is_repeated = True
        self._wait_for(
            lambda: [f"{name} is still known" for image in self._images() if name in image.topics_by_name], deadline
        )

    def topics(self) -> dict[str, int]:
        """Counts of partitions by name, internal topics included."""
        return {name: len(topic.partitions) for name, topic in self._image().topics_by_name.items()}

    # -- who leads ------------------------------------------------------------------------------------------------

    @property
    def controller(self) -> int | None:
        """The active controller, None while there is none."""
        epochs = {each.broker_id: each.controller_epoch for each in self._running()}
        found = max(epochs, key=epochs.__getitem__, default=None)
        return found if found is not None and epochs[found] >= 0 else None

    def leader(self, topic: str, partition: int = 0) -> int | None:
        """The partition's leader by the newest metadata, None while it has none. A broker that was killed just now
        still leads: see :meth:`wait_for_leader`.

        Raises:
            KafkaClusterError: there is no such partition.
        """
        leader = self._partition(topic, partition).leader
        return leader if leader >= 0 else None

    def isr(self, topic: str, partition: int = 0) -> tuple[int, ...]:
        """The partition's in-sync replicas.

        Raises:
            KafkaClusterError: there is no such partition.
        """
        isr: tuple[int, ...] = self._partition(topic, partition).isr
        return isr

    def _partition(self, topic: str, partition: int) -> Any:
        found = self._image().partition(topic, partition)
        if found is None:
            raise KafkaClusterError(f"there is no partition {topic}-{partition}")
        return found

    def wait_for_leader(
        self, topic: str, partition: int = 0, *, other_than: int | None = None, timeout_s: float = 30.0
    ) -> int:
        """Wait until the partition is led by a broker that runs, and is not ``other_than``; returns it.

        Raises:
            KafkaClusterError: there is no such partition.
            KafkaClusterTimeout: it is not.
        """
        leaders: list[int] = []

        def missing() -> list[str]:
            leader = self.leader(topic, partition)
            if leader is not None and leader != other_than and self.brokers[leader].state is BrokerState.RUNNING:
                leaders.append(leader)
                return []
            return [f"{topic}-{partition} has no leader" if leader is None else f"{leader} leads {topic}-{partition}"]

        self._wait_for(missing, time.monotonic() + timeout_s)
        return leaders[-1]

    def wait_until_in_sync(self, topic: str | None = None, *, timeout_s: float = 30.0) -> None:
        """Wait until every partition (of ``topic``, or of all topics) has a leader and all of its replicas in the ISR,
        on brokers that run and reach each other.

        Raises:
            KafkaClusterTimeout: the text names those that have not.
        """
        self._wait_for(lambda: self._out_of_sync(topic), time.monotonic() + timeout_s)

    def _out_of_sync(self, topic: str | None) -> list[str]:
        image = self._image()
        if topic is not None and topic not in image.topics_by_name:
            return [f"there is no topic {topic}"]
        running = {each.broker_id for each in self._running()}
        return [
            f"{name}-{number}: leader {each.leader}, in sync {list(each.isr)} of {list(each.replicas)}"
            for name, known in image.topics_by_name.items()
            if topic in (None, name)
            for number, each in known.partitions.items()
            if not each.has_leader
            or set(each.isr) != set(each.replicas)
            # What has just been done to a broker is not in the metadata yet.
            or not running.issuperset(each.replicas)
            or any(pair.issubset(each.replicas) for pair in self._cuts)
        ]

    # -- the brokers from inside ------------------------------------------------------------------------------------

    def _ids(self, broker_ids: Iterable[int]) -> list[int]:
        if self._is_closed:
            raise KafkaClusterError("the cluster is closed")
        ids = list(broker_ids) or list(self.brokers)
        unknown = [each for each in ids if each not in self.brokers]
        if unknown:
            raise KafkaClusterError(f"there is no broker {unknown[0]}, only {', '.join(map(str, self.brokers))}")
        return ids

    def _is_up(self, broker_id: int) -> bool:
        return self.brokers[broker_id].state in (BrokerState.RUNNING, BrokerState.PAUSED)

    def _running_thread(self, broker_id: int) -> BrokerThread:
        state = self.brokers[broker_id].state
        if state is not BrokerState.RUNNING:
            raise KafkaClusterError(f"broker {broker_id} is {state.value}")
        return self._resources.threads[broker_id]

    def _running(self) -> list[BrokerThread]:
        threads = dict(self._resources.threads)
        return [threads[each] for each in sorted(threads) if threads[each].state is BrokerState.RUNNING]

    def _images(self) -> list[MetadataImage]:
        """What the brokers know that run and are not cut off from the controller."""
        controller = self.controller
        return [
            image
            for each in self._running()
            if frozenset((each.broker_id, controller)) not in self._cuts and (image := each.image) is not None
        ]

    def _image(self) -> MetadataImage:
        """The newest metadata that a running broker has."""
        images = [image for each in self._running() if (image := each.image) is not None]
        if not images:
            raise KafkaClusterError("no broker runs")
        return max(images, key=lambda each: each.offset)

    def _wait_for(self, missing: Callable[[], list[str]], deadline: float) -> None:
        while left := missing():
            if time.monotonic() >= deadline:
                raise KafkaClusterTimeout("; ".join(left))
            time.sleep(_POLL_S)

    def _ask(self, request: Any, version: int, deadline: float) -> Any:
        """The active controller's answer, by way of whichever broker reaches it."""
        last = "no broker runs"
        while time.monotonic() < deadline:
            # The controller itself first: it has nobody to ask.
            for thread in sorted(self._running(), key=lambda each: each.controller_epoch, reverse=True):
                future = thread.submit(lambda broker: broker.forward_to_controller(request, version))
                try:
                    return future.result(_ASK_TIMEOUT_MS / 1000 + 1)
                except (ClientError, KafkaClusterError, TimeoutError) as error:
                    last = f"broker {thread.broker_id}: {error or 'no answer'}"
            time.sleep(_POLL_S * 5)
        raise KafkaClusterTimeout(f"the controller does not answer: {last}")


def _check(begun: list[BrokerThread]) -> None:
    for thread in begun:
        error = thread.ready.exception() if thread.ready.done() else None
        if error is not None:
            raise KafkaClusterError(f"broker {thread.broker_id} cannot start: {error}") from error


def _knows_brokers(image: MetadataImage, broker_ids: list[int]) -> bool:
    return all(each in image.brokers and not image.brokers[each].fenced for each in broker_ids)


def _leads(image: MetadataImage, topic: str) -> bool:
    known = image.topics_by_name.get(topic)
    return known is not None and all(each.has_leader for each in known.partitions.values())
