"""Known-bad changes of the engine, one for each promise: seeds must fail under each, or the checks are blind."""
