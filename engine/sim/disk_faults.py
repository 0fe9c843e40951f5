"""Disks that fail, fill up, slow down and hang."""

from __future__ import annotations

from engine.sim.disk import USUAL_DELAY_S
from engine.sim.fault_kit import Act, FaultKit


class DiskFaults:
    """Acts by their names in :data:`engine.sim.options.FAULTS`."""

    def __init__(self, kit: FaultKit) -> None:
        self._kit = kit

    def acts(self) -> dict[str, Act]:
        """Name to act."""
        return {"disk": self._disk, "slow-disk": self._slow_disk, "hang-disk": self._hang_disk}

    def _disk(self) -> str:
        """One machine's disk fails or is full; one at a time, which is what the promise speaks of."""
        kit = self._kit
        machines = kit.cluster.machines
        if any(machine.disk.failing or machine.disk.room_bytes is not None for machine in machines.values()):
            return ""
        machine = kit.some_machine()
        disk = machine.disk
        kind = kit.rng.choice(("sync", "write", "full", "read"))
        if kind == "full":
            disk.room_bytes = kit.rng.randint(0, 2000)
        else:
            # One of its disks, if it has several.
            disk.failing_under = kit.rng.choice(kit.cluster.log_dirs)
            disk.failing.add(kind)

        def heal() -> None:
            disk.failing.clear()
            disk.room_bytes = None
            # A broker whose disk failed has left, or goes on without it; an operator starts it again.
            if not kit.is_healed and machine.is_up and machine.broker is not None and machine.broker.offline_log_dirs:
                kit.tell(f"restart {machine.node_id} for {sorted(machine.broker.offline_log_dirs)}")
                kit.cluster.repair(machine.node_id)
            kit.restart(machine.node_id)

        delay_s = kit.later(5.0, heal)
        where = disk.failing_under if kind != "full" else ""
        return f"disk {machine.node_id} {kind} {where} for {delay_s:.2f} s"

    def _slow_disk(self) -> str:
        machine = self._kit.some_machine()
        disk = machine.disk
        disk.delay_s = (0.01, self._kit.rng.choice((0.1, 1.0)))
        delay_s = self._kit.later(5.0, lambda: setattr(disk, "delay_s", USUAL_DELAY_S))
        return f"slow disk {machine.node_id} for {delay_s:.2f} s"

    def _hang_disk(self) -> str:
        """Nothing that waits for the device is done, until the device goes on."""
        machine = self._kit.some_machine()
        machine.disk.hang()
        delay_s = self._kit.later(self._kit.rng.choice((0.5, 3.0, 12.0)), machine.disk.go_on)
        return f"disk {machine.node_id} hangs for {delay_s:.2f} s"
