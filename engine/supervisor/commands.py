"""The commands of the control socket.

status                                    cluster, brokers and their processes, workload, ZooKeeper's servers, registry
kill {brokers, measure?, acks?, rate?}    SIGKILL; with measure true one broker, and ``act_id`` of its stopwatch
stop start pause resume restart {brokers} an empty or absent list: every broker to which the command applies
fault {kind, broker_id, other?, by_ms?, times?, for_ms?, acks?, measure?, rate?, patience_s?}
                                          a fault that lasts (engine.supervisor.fault_kinds); with ``fault_id``
heal {fault?}                             end one, or all
zookeeper {act, servers?}                 kill, start, stop, pause, resume or restart ZooKeeper servers: ids, "leader",
                                          or absent: all to which it applies
expire_session {broker}                   have ZooKeeper expire a broker's session while the broker runs
workload_start workload_stop              the whole workload
add_broker {id?, rack?}                   one more, which is kept; answered once it serves
remove_broker {broker}                    stop and forget one that holds no replica and is no voter
connections {broker}                      who is connected to it, as it says itself
wire {broker, after, limit, watch, hold}  requests that it answered lately; looking keeps them coming
message {broker, number, watch}           one of these whole
add_member remove_member {group}          a consumer of the workload more or less
set_rate {producer, rate}                 records a second
shutdown                                  controlled shutdown of the cluster; answered before it begins
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from engine.supervisor.broker_supervision import BrokerSupervision, CommandError
from engine.supervisor.fault_kinds import WishError, read_wish
from engine.supervisor.snapshot import ProcessState

if TYPE_CHECKING:
    from engine.supervisor.supervisor import Supervisor
    from engine.supervisor.workload_process import WorkloadProcess

_UP = (ProcessState.STARTING, ProcessState.RUNNING, ProcessState.PAUSED, ProcessState.STOPPING)
_DOWN = (ProcessState.STOPPED, ProcessState.KILLED, ProcessState.CRASHED)
# The states in which a command applies to a broker that was not named.
_APPLIES: dict[str, tuple[ProcessState, ...]] = {
    "kill": _UP,
    "stop": _UP,
    "start": _DOWN,
    "pause": (ProcessState.STARTING, ProcessState.RUNNING),
    "resume": (ProcessState.PAUSED,),
    "restart": (*_UP, *_DOWN),
}

_PROBE_RATE = 50.0


class Commands:
    """Finds the handler of a command and checks its arguments."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._handlers: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "status": self._status,
            "kill": self._kill,
            "stop": self._stop,
            "start": self._start,
            "pause": self._pause,
            "resume": self._resume,
            "restart": self._restart,
            "fault": self._fault,
            "heal": self._heal,
            "add_broker": self._add_broker,
            "remove_broker": self._remove_broker,
            "connections": lambda arguments: self._ask("connections", arguments),
            "wire": lambda arguments: self._ask("wire", arguments),
            "message": lambda arguments: self._ask("message", arguments),
            "zookeeper": self._zookeeper,
            "expire_session": self._expire_session,
            "workload_start": self._workload_start,
            "workload_stop": self._workload_stop,
            "add_member": self._add_member,
            "remove_member": self._remove_member,
            "set_rate": self._set_rate,
            "shutdown": self._shutdown,
        }

    async def handle(self, command: str, arguments: dict[str, Any]) -> Any:
        """Do a command. Raises: CommandError with a sentence for people."""
        handler = self._handlers.get(command)
        if handler is None:
            raise CommandError(f"unknown command {command!r}; known are {', '.join(sorted(self._handlers))}, subscribe")
        return await handler(arguments)

    def _brokers(self, command: str, arguments: dict[str, Any]) -> list[BrokerSupervision]:
        known = self._supervisor.brokers
        wanted = arguments.get("brokers") or []
        if not isinstance(wanted, list) or not all(isinstance(each, int) for each in wanted):
            raise CommandError("brokers is a list of ids")
        unknown = [each for each in wanted if each not in known]
        if unknown:
            raise CommandError(f"there is no broker {unknown[0]}; the cluster has {', '.join(map(str, sorted(known)))}")
        if wanted:
            return [known[each] for each in dict.fromkeys(wanted)]
        found = [
            broker
            for _, broker in sorted(known.items())
            if broker.state in _APPLIES[command] or (command in ("kill", "stop") and broker.awaits_restart)
        ]
        if not found:
            states = ", ".join(f"{broker_id} is {broker.state}" for broker_id, broker in sorted(known.items()))
            raise CommandError(f"there is no broker to {command}: {states}")
        return found

    async def _each(
        self, brokers: list[BrokerSupervision], act: Callable[[BrokerSupervision], Awaitable[Any]]
    ) -> dict[str, Any]:
        results = await asyncio.gather(*(act(broker) for broker in brokers), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        for failure in failed:
            if not isinstance(failure, CommandError):
                raise failure
        if failed:
            raise CommandError("; ".join(map(str, failed)))
        return self._rows(brokers)

    @staticmethod
    def _rows(brokers: list[BrokerSupervision]) -> dict[str, Any]:
        rows = []
        for broker in brokers:
            row = broker.as_fact()
            del row["type"]
            rows.append({"id": row.pop("broker"), **row})
        return {"brokers": rows}

    # -- brokers ------------------------------------------------------------------------------------------------

    async def _status(self, arguments: dict[str, Any]) -> dict[str, Any]:
        supervisor = self._supervisor
        cluster = supervisor.as_fact()
        del cluster["type"]
        brokers = [broker for _, broker in sorted(supervisor.brokers.items())]
        workload = supervisor.workload
        return {
            **cluster,
            "stopping": supervisor.stop_requested.is_set(),
            "control_socket": supervisor.control.path,
            **self._rows(brokers),
            **supervisor.zookeeper_rows(),
            **supervisor.registry_row(),
            **supervisor.connect_row(),
            "workload": {"running": workload is not None and workload.pid is not None},
        }

    async def _kill(self, arguments: dict[str, Any]) -> dict[str, Any]:
        brokers = self._brokers("kill", arguments)
        if not arguments.get("measure"):
            return await self._each(brokers, lambda broker: broker.kill())
        if len(brokers) != 1:
            raise CommandError("a measured kill is of one broker: name it")
        acks = str(arguments.get("acks", "all"))
        if acks not in ("all", "1", "0"):
            raise CommandError("acks is all, 1 or 0")
        rate, patience_s = self._rate_and_patience(arguments)
        victim = brokers[0]
        if not victim.is_alive:
            raise CommandError(f"broker {victim.broker_id} is {victim.state}: it cannot be killed")
        others = [broker for broker in self._supervisor.brokers.values() if broker is not victim]
        act_id = await self._supervisor.acts().kill(victim, others, acks=acks, rate=rate, patience_s=patience_s)
        return {**self._rows(brokers), "act_id": act_id}

    @staticmethod
    def _rate_and_patience(arguments: dict[str, Any]) -> tuple[float, float | None]:
        """Of the probe."""
        rate, patience_s = arguments.get("rate", _PROBE_RATE), arguments.get("patience_s")
        if not isinstance(rate, int | float) or not 1 <= rate <= 10_000:
            raise CommandError("rate is between 1 and 10000 records a second")
        if patience_s is not None and not (isinstance(patience_s, int | float) and patience_s > 0):
            raise CommandError("patience_s is a number of seconds")
        return float(rate), patience_s

    async def _fault(self, arguments: dict[str, Any]) -> dict[str, Any]:
        supervisor = self._supervisor
        rate, patience_s = self._rate_and_patience(arguments)
        try:
            wish = read_wish(arguments, supervisor.brokers)
        except WishError as error:
            raise CommandError(str(error)) from error
        fault = await supervisor.begin_fault(
            wish, measure=bool(arguments.get("measure")), rate=rate, patience_s=patience_s
        )
        return {"fault_id": fault.fault_id, "act_id": fault.act_id, "what": wish.words}

    async def _heal(self, arguments: dict[str, Any]) -> dict[str, Any]:
        fault_id = arguments.get("fault")
        if fault_id is not None and not isinstance(fault_id, int):
            raise CommandError("fault is the number of an active one")
        return {"healed": await self._supervisor.faults.heal(fault_id)}

    async def _stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        brokers = self._brokers("stop", arguments)
        for broker in brokers:
            if not broker.is_alive and not broker.awaits_restart:
                raise CommandError(f"broker {broker.broker_id} is {broker.state}: it cannot be stopped")
        await self._supervisor.stop_brokers(brokers)
        return self._rows(brokers)

    async def _start(self, arguments: dict[str, Any]) -> dict[str, Any]:
        async def start(broker: BrokerSupervision) -> None:
            # The restart policy may have been faster: then what was asked for is under way, or done.
            if broker.state not in (ProcessState.STARTING, ProcessState.RUNNING):
                await broker.start("start was asked for")
            if arguments.get("wait", True):
                await broker.wait_ready()

        return await self._each(self._brokers("start", arguments), start)

    async def _pause(self, arguments: dict[str, Any]) -> dict[str, Any]:
        async def pause(broker: BrokerSupervision) -> None:
            broker.pause()

        return await self._each(self._brokers("pause", arguments), pause)

    async def _resume(self, arguments: dict[str, Any]) -> dict[str, Any]:
        async def resume(broker: BrokerSupervision) -> None:
            broker.resume()

        return await self._each(self._brokers("resume", arguments), resume)

    async def _restart(self, arguments: dict[str, Any]) -> dict[str, Any]:
        brokers = self._brokers("restart", arguments)
        # One after the other: a rolling restart keeps the cluster available.
        for broker in brokers:
            await broker.restart()
            await broker.wait_ready()
        return self._rows(brokers)

    async def _add_broker(self, arguments: dict[str, Any]) -> dict[str, Any]:
        broker_id, rack = arguments.get("id"), arguments.get("rack")
        if broker_id is not None and not (isinstance(broker_id, int) and 0 <= broker_id < 1 << 31):
            raise CommandError("id is a number of the broker's own, 0 or more")
        if rack is not None and not (isinstance(rack, str) and rack):
            raise CommandError("rack is a name")
        return self._rows([await self._supervisor.add_broker(broker_id, rack)])

    async def _remove_broker(self, arguments: dict[str, Any]) -> dict[str, Any]:
        broker_id = arguments.get("broker")
        if not isinstance(broker_id, int):
            raise CommandError("broker is an id")
        await self._supervisor.remove_broker(broker_id)
        return {}

    async def _ask(self, question: str, arguments: dict[str, Any]) -> dict[str, Any]:
        broker_id = arguments.get("broker")
        broker = self._supervisor.brokers.get(broker_id) if isinstance(broker_id, int) else None
        if broker is None:
            known = ", ".join(map(str, sorted(self._supervisor.brokers)))
            raise CommandError(f"broker is an id; the cluster has {known}")
        numbers = {name: arguments[name] for name in ("after", "limit", "number", "watch", "hold") if name in arguments}
        if not all(isinstance(each, int) for each in numbers.values()):
            raise CommandError(f"{', '.join(numbers)} are numbers")
        return await broker.ask(question, **numbers)

    async def _zookeeper(self, arguments: dict[str, Any]) -> dict[str, Any]:
        ensemble = self._supervisor.zookeeper
        if ensemble is None:
            connect = self._supervisor.zookeeper_connect
            raise CommandError(
                f"the ZooKeeper servers of {connect} are not this cluster's own"
                if connect
                else "the cluster has no ZooKeeper: its own quorum coordinates it (KRaft)"
            )
        servers = await ensemble.act(str(arguments.get("act", "")), arguments.get("servers"))
        return {"servers": [server.as_row() for server in servers]}

    async def _expire_session(self, arguments: dict[str, Any]) -> dict[str, Any]:
        answer = await self._ask("expire_session", {"broker": arguments.get("broker")})
        if "error" in answer:
            raise CommandError(f"broker {arguments['broker']}: {answer['error']}")
        return answer

    # -- the rest -----------------------------------------------------------------------------------------------

    def _workload(self) -> WorkloadProcess:
        workload = self._supervisor.workload
        if workload is None:
            raise CommandError("the cluster is not up yet")
        return workload

    async def _workload_start(self, arguments: dict[str, Any]) -> dict[str, Any]:
        await self._workload().start()
        return {}

    async def _workload_stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._workload().stop()
        return {}

    async def _add_member(self, arguments: dict[str, Any]) -> dict[str, Any]:
        await self._workload().add_member(str(arguments.get("group", "")))
        return {}

    async def _remove_member(self, arguments: dict[str, Any]) -> dict[str, Any]:
        await self._workload().remove_member(str(arguments.get("group", "")))
        return {}

    async def _set_rate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        rate = arguments.get("rate")
        if not isinstance(rate, int | float):
            raise CommandError("rate is a number of records a second")
        self._workload().set_rate(str(arguments.get("producer", "")), float(rate))
        return {}

    async def _shutdown(self, arguments: dict[str, Any]) -> dict[str, Any]:
        asyncio.get_running_loop().call_soon(self._supervisor.stop_requested.set)
        return {}
