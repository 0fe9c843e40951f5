"""What one simulation does, all of it from its seed; an option given by hand takes the place of the seed's choice."""

from __future__ import annotations

import random
from typing import NamedTuple

# Fault kinds, told where they are made: process_faults, network_faults, disk_faults, clock_faults. Those that begin
# with "power" need fsynced logs for the promise to hold.
FAULTS = (
    *("kill", "kill-leader", "kill-on-ack", "crash-start", "pause", "stop", "rolling", "power", "power-all"),
    *("cut", "bridge", "reset", "half-open", "mute", "hold", "repeat", "hiccup"),
    *("disk", "slow-disk", "hang-disk"),
    *("clock", "drift", "strobe"),
)


class Options(NamedTuple):
    """One run. ``durability``: ``fsync`` or ``page-cache``. Times in simulated seconds."""

    seed: int
    seconds: float
    brokers: int
    durability: str
    faults: tuple[str, ...]
    fault_interval_s: float
    hiccup_chance: float
    longest_delay_s: float
    connection_loss_detection: bool
    segment_bytes: int
    load: str = "heavy"

    def words(self) -> str:
        """As the command line takes them."""
        return (
            f"--seed {self.seed} --seconds {self.seconds:g} --brokers {self.brokers} --durability {self.durability} "
            f"--faults {','.join(self.faults) or 'none'}"
        )


def options_from(
    seed: int,
    *,
    seconds: float | None = None,
    brokers: int | None = None,
    durability: str | None = None,
    faults: tuple[str, ...] | None = None,
) -> Options:
    """The seed's options, with what is given instead."""
    rng = random.Random(f"options {seed}")
    chosen_durability = rng.choice(("fsync", "page-cache"))
    durability = durability or chosen_durability
    available = FAULTS if durability == "fsync" else tuple(each for each in FAULTS if not each.startswith("power"))
    count = rng.randint(1, 6)
    chosen = tuple(sorted(rng.sample(available, min(count, len(available)))))
    if rng.random() < 0.05:
        chosen = ()
    chosen_seconds = rng.choice((15.0, 30.0, 60.0))
    return Options(
        seed=seed,
        seconds=chosen_seconds if seconds is None else seconds,
        brokers=3 if brokers is None else brokers,
        durability=durability,
        faults=chosen if faults is None else faults,
        fault_interval_s=rng.choice((0.5, 2.0, 6.0)),
        hiccup_chance=rng.choice((0.0, 0.0, 0.001, 0.01)),
        longest_delay_s=rng.choice((0.0005, 0.002, 0.02)),
        connection_loss_detection=rng.random() < 0.75,
        segment_bytes=rng.choice((4096, 16384, 1 << 20)),
    )
