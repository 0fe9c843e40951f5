"""A child that behaves like a broker towards its supervisor, and speaks no Kafka. Quick to start."""

import json
import os
import signal
import sys


def main() -> None:
    arguments = sys.argv[1:]
    facts = int(arguments[arguments.index("--facts-fd") + 1])
    mode = os.environ.get("DUMMY_MODE", "")
    print("incarnation", os.getpid(), flush=True)

    def leave(how: str) -> None:
        print("left by", how, flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, lambda *_: leave("SIGTERM"))
    if mode == "crash at once":
        sys.exit(3)
    note = json.dumps({"type": "note", "kind": "broker_unfenced", "mono_ns": 5}).encode()
    # In one write: who sees that it is ready sees the note as well. The last line is never finished.
    os.write(facts, b"not json\n" + note + b'\n{"type":"ready"}\n{tr')
    if "--supervised" in arguments:
        while os.read(0, 100):
            pass
        leave("end of input")
    while True:
        signal.pause()


main()
