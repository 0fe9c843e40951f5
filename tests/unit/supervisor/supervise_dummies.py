"""A supervisor of dummy brokers as a process of its own: ``supervise_dummies.py DATA_DIR [keep]``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from engine.supervisor.up import run_supervisor
from tests.unit.supervisor.dummies import options

if __name__ == "__main__":
    wanted = options(keep="keep" in sys.argv)
    sys.exit(run_supervisor(sys.argv[1], wanted, "cluster.yaml", lambda line: print(line["brokers"], flush=True)))
