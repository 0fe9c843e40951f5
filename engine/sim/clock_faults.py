"""Wall clocks that are wrong, that jump, that run too fast or too slow, that go to and fro."""

from __future__ import annotations

import asyncio

from engine.sim.fault_kit import Act, FaultKit

_JUMPS_MS = (-3_600_000, -5_000, 0, 5_000, 3_600_000)
_STROBE_MS = (50, 2_000, 600_000)
_DRIFTS = (-0.1, -0.01, 0.01, 0.1)


class ClockFaults:
    """Acts by their names in :data:`engine.sim.options.FAULTS`. Durations are right: those clocks do not jump."""

    def __init__(self, kit: FaultKit) -> None:
        self._kit = kit

    def acts(self) -> dict[str, Act]:
        """Name to act."""
        return {"clock": self._clock, "drift": self._drift, "strobe": self._strobe}

    def _clock(self) -> str:
        machine = self._kit.some_machine()
        machine.clock.skew_ms = self._kit.rng.choice(_JUMPS_MS)
        return f"clock {machine.node_id} {machine.clock.skew_ms:+d} ms"

    def _drift(self) -> str:
        """A clock gains or loses, a tenth at most."""
        machine = self._kit.some_machine()
        rate = self._kit.rng.choice(_DRIFTS)
        machine.clock.drift(rate)
        return f"clock {machine.node_id} drifts by {rate:+.0%}"

    def _strobe(self) -> str:
        """A clock jumps to and fro for some time."""
        kit = self._kit
        machine = kit.some_machine()
        jump_ms = kit.rng.choice(_STROBE_MS)
        pauses = [kit.rng.uniform(0.01, 0.5) for _ in range(kit.rng.randint(4, 20))]

        async def strobe() -> None:
            for number, pause_s in enumerate(pauses):
                if kit.is_healed:
                    return
                machine.clock.skew_ms = jump_ms if number % 2 == 0 else -jump_ms
                await asyncio.sleep(pause_s)
            if not kit.is_healed:
                machine.clock.skew_ms = 0

        kit.keep(strobe())
        return f"clock {machine.node_id} strobes by {jump_ms} ms for {sum(pauses):.2f} s"
