"""What one simulation does, all of it from its seed; an option given by hand takes the place of the seed's choice."""

from __future__ import annotations

import argparse
import random
from typing import Any, NamedTuple

# Fault kinds, told where they are made: process_faults, network_faults, disk_faults, rot_faults, clock_faults. Those
# that begin with "power" need fsynced logs for the promise to hold.
FAULTS = (
    *("kill", "kill-leader", "kill-on-ack", "kill-on-vote", "crash-start"),
    *("pause", "stop", "rolling", "power", "power-all"),
    *("cut", "bridge", "reset", "half-open", "mute", "hold", "repeat", "hiccup"),
    *("disk", "slow-disk", "hang-disk", "rot"),
    *("clock", "drift", "strobe"),
)
# Faults of wall clocks: what Kafka forgets by the wall clock is forgotten then, whatever was promised.
CLOCK_FAULTS = ("clock", "drift", "strobe")
DURABILITIES = ("fsync", "page-cache")
LOADS = ("heavy", "light")
# Some seeds run long and do little, and meet the timers that others never see.
_LIGHT_SHARE = 0.06
_TRANSACTIONS_SHARE = 0.06
_VOTERS_SHARE = 0.1


class Options(NamedTuple):
    """One run. Times in simulated seconds.

    ``durability``: ``fsync`` or ``page-cache``. ``load``: ``heavy``, or ``light`` and long. ``joining``: brokers join
    and leave meanwhile. ``log_dirs``: how many disks a broker has.
    ``eligible_leader_replicas``: KIP-966 is switched on. ``compacted``: logs are compacted all the time; no record is
    superseded, so that all of them must stay. ``transactions``: there are transactional clients too. ``voters``: voters
    of the quorum are removed and added again.
    """

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
    load: str
    joining: bool
    log_dirs: int
    eligible_leader_replicas: bool
    compacted: bool
    transactions: bool
    voters: bool

    def words(self) -> str:
        """As the command line takes them: all of them, whatever seeds come to choose later."""
        return (
            f"--seed {self.seed} --seconds {self.seconds!r} --brokers {self.brokers} --durability {self.durability} "
            f"--faults {','.join(self.faults) or 'none'} --fault-interval {self.fault_interval_s!r} "
            f"--hiccup-chance {self.hiccup_chance!r} --longest-delay {self.longest_delay_s!r} "
            f"--connection-loss-detection {_yes(self.connection_loss_detection)} "
            f"--segment-bytes {self.segment_bytes} --load {self.load} --joining {_yes(self.joining)} "
            f"--log-dirs {self.log_dirs} --eligible-leader-replicas {_yes(self.eligible_leader_replicas)} "
            f"--compacted {_yes(self.compacted)} --transactions {_yes(self.transactions)} "
            f"--voters {_yes(self.voters)}"
        )


def options_from(
    seed: int,
    *,
    seconds: float | None = None,
    brokers: int | None = None,
    durability: str | None = None,
    faults: tuple[str, ...] | None = None,
    load: str | None = None,
    **others: Any,
) -> Options:
    """The seed's options, with what is given instead; ``others``: further fields of :class:`Options`."""
    rng = random.Random(f"options {seed}")
    chosen_durability = rng.choice(DURABILITIES)
    durability = durability or chosen_durability
    available = FAULTS if durability == "fsync" else tuple(each for each in FAULTS if not each.startswith("power"))
    count = rng.randint(1, 6)
    chosen = tuple(sorted(rng.sample(available, min(count, len(available)))))
    if rng.random() < 0.05:
        chosen = ()
    chosen_load = "light" if rng.random() < _LIGHT_SHARE else "heavy"
    load = load or chosen_load
    heavy = rng.choice((15.0, 30.0, 60.0)), rng.choice((0.5, 2.0, 6.0))
    light = rng.choice((600.0, 1200.0, 2400.0)), rng.choice((20.0, 60.0, 200.0))
    chosen_seconds, interval_s = light if load == "light" else heavy
    chosen_brokers = rng.choices((3, 1, 5), (18, 1, 1))[0]
    return Options(
        seed=seed,
        seconds=chosen_seconds if seconds is None else seconds,
        brokers=chosen_brokers if brokers is None else brokers,
        durability=durability,
        faults=chosen if faults is None else faults,
        fault_interval_s=interval_s,
        hiccup_chance=rng.choice((0.0, 0.0, 0.001, 0.01)),
        longest_delay_s=rng.choice((0.0005, 0.002, 0.02)),
        connection_loss_detection=rng.random() < 0.75,
        segment_bytes=rng.choice((4096, 16384, 1 << 20)),
        load=load,
        joining=rng.random() < 0.2,
        log_dirs=rng.choices((1, 2, 3), (16, 3, 1))[0],
        eligible_leader_replicas=rng.random() < 0.2,
        compacted=rng.random() < 0.1,
        transactions=rng.random() < _TRANSACTIONS_SHARE,
        voters=rng.random() < _VOTERS_SHARE,
    )._replace(**others)


# -- the command line ---------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """An option for every field of :class:`Options` but the seed; those that are not given are the seed's."""
    parser.add_argument("--seconds", type=float, help="simulated seconds under faults")
    parser.add_argument("--brokers", type=int)
    parser.add_argument("--durability", choices=DURABILITIES)
    parser.add_argument("--faults", type=_faults, help=f"comma-separated, of {', '.join(FAULTS)}; or none")
    parser.add_argument("--fault-interval", dest="fault_interval_s", type=float, metavar="S", help="mean seconds")
    parser.add_argument("--hiccup-chance", type=float, help="of a piece of a stream, to be late")
    parser.add_argument("--longest-delay", dest="longest_delay_s", type=float, metavar="S", help="seconds on the wire")
    parser.add_argument("--connection-loss-detection", type=_flag, metavar="yes|no")
    parser.add_argument("--segment-bytes", type=int, help="of the topics that clients write to")
    parser.add_argument("--load", choices=LOADS, help="light: long, with few operations")
    parser.add_argument("--joining", type=_flag, metavar="yes|no", help="brokers join and leave")
    parser.add_argument("--log-dirs", type=int, choices=(1, 2, 3), help="each on a disk of its own")
    parser.add_argument("--eligible-leader-replicas", type=_flag, metavar="yes|no", help="KIP-966 is switched on")
    parser.add_argument(
        "--compacted", type=_flag, metavar="yes|no", help="logs are compacted, and lose no record by it"
    )
    parser.add_argument("--transactions", type=_flag, metavar="yes|no", help="with transactional clients")
    parser.add_argument("--voters", type=_flag, metavar="yes|no", help="voters of the quorum go and come back")


def given_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """What :func:`options_from` takes of a command line."""
    names = [each for each in Options._fields if each != "seed"]
    return {name: value for name in names if (value := getattr(parsed, name)) is not None}


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _flag(word: str) -> bool:
    if word not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{word} is neither yes nor no")
    return word == "yes"


def _faults(words: str) -> tuple[str, ...]:
    faults = tuple(each for each in words.split(",") if each and each != "none")
    unknown = [each for each in faults if each not in FAULTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    return faults
