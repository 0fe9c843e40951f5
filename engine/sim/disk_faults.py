"""Disks that fail, fill up, slow down and hang, and derived files that rot or vanish.

What rots here is what docs/promises.md says is made again (L3): producer snapshots, whose CRC tells that a bit has
flipped; indexes, epochs and checkpoints are lost as a whole, for they bear no checksum, as in Kafka. Bits of records
are flipped in tests/unit/storage/test_recovery.py, not here: a rotten segment stays so for every later reader.
"""

from __future__ import annotations

from engine.sim.disk import USUAL_DELAY_S
from engine.sim.fault_kit import Act, FaultKit

_DERIVED = (".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint")
_CHECKPOINTS = ("recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint")
_QUORUM_DIRECTORY = "/__cluster_metadata-0/"


class DiskFaults:
    """Acts by their names in :data:`engine.sim.options.FAULTS`."""

    def __init__(self, kit: FaultKit) -> None:
        self._kit = kit

    def acts(self) -> dict[str, Act]:
        """Name to act."""
        return {"disk": self._disk, "slow-disk": self._slow_disk, "hang-disk": self._hang_disk, "rot": self._rot}

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
            disk.failing.add(kind)

        def heal() -> None:
            disk.failing.clear()
            disk.room_bytes = None
            # A broker whose disk failed has left; an operator starts it again.
            kit.restart(machine.node_id)

        delay_s = kit.later(5.0, heal)
        return f"disk {machine.node_id} {kind} for {delay_s:.2f} s"

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

    def _rot(self) -> str:
        """A broker goes down, and some of its derived files are gone or changed before it comes back."""
        kit = self._kit
        machine = kit.some_machine()
        found = [each for each in machine.disk.paths() if _is_derived(each)]
        if not found:
            return ""
        if machine.is_up:
            kit.kill(machine.node_id, 4.0)
        chosen = sorted(kit.rng.sample(found, min(len(found), kit.rng.choice((1, 1, 3, 20)))))
        for path in chosen:
            if path.endswith(".snapshot") and kit.rng.random() < 0.5:
                machine.disk.flip_bit(path)
            else:
                machine.disk.remove(path)
        return f"kill {machine.node_id}, rot of {' '.join(chosen)}"


def _is_derived(path: str) -> bool:
    return path.endswith((*_DERIVED, *_CHECKPOINTS)) and _QUORUM_DIRECTORY not in path
