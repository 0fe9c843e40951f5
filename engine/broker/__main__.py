"""``python -m engine.broker --properties FILE``: one broker in the foreground."""

import sys

from engine.broker.main import main

sys.exit(main())
