"""The world outside the machines: clock, network, disk, randomness.

Everything in :mod:`engine` outside the pure packages reaches the outside through a :class:`World`. Production uses
:func:`engine.world.real.real_world`; a simulator supplies its own and runs the same brokers under virtual time.
"""

from engine.world.interface import (
    Buffer,
    Clock,
    Disk,
    DiskLock,
    File,
    Listener,
    Network,
    Random,
    World,
)

__all__ = ["Buffer", "Clock", "Disk", "DiskLock", "File", "Listener", "Network", "Random", "World"]
