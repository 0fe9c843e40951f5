"""``python -m engine.broker --properties FILE``: one broker in the foreground."""

import gc
import sys

# What the imports make stays as long as the process: the collector need not look at it again and again.
gc.disable()

from engine.broker.main import main  # noqa: E402

gc.freeze()
gc.enable()

sys.exit(main())
