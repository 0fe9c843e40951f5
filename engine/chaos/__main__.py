"""``python -m engine.chaos``: real brokers and clients, real faults, judged at the end. See docs/chaos.md."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from engine.chaos.coordination_kills import Kills
from engine.chaos.machine import FAULTS, ZOOKEEPER
from engine.chaos.run import Options, run
from engine.chaos.workload import LYING, SAFE, UNCLEAN, WEAK


def _faults(text: str) -> frozenset[str]:
    chosen = frozenset(filter(None, text.split(",")))
    known = (*FAULTS, ZOOKEEPER)
    unknown = sorted(chosen - set(known))
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is unknown; there are {', '.join(known)}")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.chaos",
        description="Break real brokers under real clients, then judge what the clients were told.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are made (60)")
    parser.add_argument("--seed", type=int, help="of the choices of faults; times and clients are not replayed")
    parser.add_argument("--faults", type=_faults, help=f"of {','.join((*FAULTS, ZOOKEEPER))} (all)")
    parser.add_argument(
        "--zookeeper", type=int, choices=(1, 3), default=0, metavar="N", help="coordinated by 1 or 3 ZooKeeper servers"
    )
    parser.add_argument("--rate", type=float, default=400.0, help="records a second, of all producers (400)")
    parser.add_argument(
        "--durability", choices=("page-cache", "fsync", "mixed"), help="(mixed; fsync where faults are counted)"
    )
    parser.add_argument("--power-cuts", type=int, default=0, metavar="N", help="cut the power of all brokers N times")
    parser.add_argument(
        "--kills", type=int, default=0, metavar="N", help="send N SIGKILLs, instead of all other faults"
    )
    for who in ("leader", "controller", "zookeeper"):
        whom = {"leader": "leaders of partitions", "controller": "the controller", "zookeeper": "ZooKeeper's leader"}
        parser.add_argument(f"--{who}-kills", type=int, default=0, metavar="N", help=f"SIGKILL {whom[who]} N times")
    parser.add_argument("--whole-within", type=float, default=60.0, help="seconds in which all must be well again (60)")
    parser.add_argument("--dir", help="for the brokers' files and the history (a new one in the temporary directory)")
    parser.add_argument("--keep", action="store_true", help="keep the directory when all is well, too")
    control = parser.add_mutually_exclusive_group()
    control.add_argument("--acks", choices=("1",), help="positive control: leaders die under acks=1, loss must be seen")
    control.add_argument(
        "--unclean", action="store_true", help="positive control: unclean elections, loss must be seen"
    )
    control.add_argument(
        "--lying-disks", action="store_true", help="positive control: fsync does nothing, power cuts must lose records"
    )
    given = parser.parse_args(arguments)
    mode = WEAK if given.acks else UNCLEAN if given.unclean else LYING if given.lying_disks else SAFE
    kills_of = Kills(given.leader_kills, given.controller_kills, given.zookeeper_kills)
    is_campaign = bool(given.power_cuts or given.kills or any(kills_of))
    if any(kills_of) and (given.power_cuts or given.kills):
        parser.error("--power-cuts and --kills are another campaign: leave --*-kills out")
    if given.zookeeper_kills and given.zookeeper != 3:
        parser.error("--zookeeper-kills need an ensemble that goes on without one: --zookeeper 3")
    if given.faults and ZOOKEEPER in given.faults and not given.zookeeper:
        parser.error(f"--faults {ZOOKEEPER} takes --zookeeper N: a quorum coordinates the brokers otherwise")
    faults = frozenset((*FAULTS, ZOOKEEPER)) if given.faults is None else given.faults
    if not given.zookeeper:
        faults -= {ZOOKEEPER}
    if mode == LYING and not given.power_cuts:
        parser.error("--lying-disks lose nothing without --power-cuts")
    if mode in (WEAK, UNCLEAN) and is_campaign:
        parser.error("--acks 1 and --unclean make their own faults: leave --power-cuts and --kills out")
    return run(
        Options(
            seconds=given.seconds,
            seed=random.randrange(1 << 32) if given.seed is None else given.seed,
            # A control makes its own faults, and needs nothing of the machine.
            faults=faults if mode == SAFE and not is_campaign else frozenset(),
            mode=mode,
            durability=given.durability or ("fsync" if is_campaign else "mixed"),
            records_per_s=given.rate,
            whole_within_s=given.whole_within,
            directory=given.dir,
            keep=given.keep,
            power_cuts=given.power_cuts,
            kills=given.kills,
            zookeeper_servers=given.zookeeper,
            kills_of=kills_of,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
